"""Positions, batches and statistics of the images of both parts."""

from dataclasses import replace

import numpy as np
import pytest
from audit_helpers import make_pictures, noise

from image_classifier.audit import pictures
from image_classifier.audit.pictures import fences, measure

SHAPE = (5, 4, 3)


def test_positions_count_through_both_parts() -> None:
    images = noise(7, SHAPE)
    both = make_pictures(images, training=4)
    assert (both.read(np.array([6, 0, 4])) == images[[6, 0, 4]]).all()
    assert both.is_test(np.array([3, 4])).tolist() == [False, True]
    assert [both.describe(3), both.describe(4)] == ["train 3: class 1", "test 0: class 0"]


def test_an_image_is_identified_by_its_file_if_it_has_one() -> None:
    both = make_pictures(noise(3, SHAPE), training=2)
    assert both.identify(2) == "test 0: class 0"
    assert replace(both, names=["a/1.png", "b/1.png", "a/2.png"]).identify(2) == "test 0: class 0, a/2.png"


def test_copies_are_found_in_both_parts_and_across_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "BATCH_BYTES", 2 * np.prod(SHAPE))
    images = noise(7, SHAPE)
    images[[3, 6]] = images[1]
    images[5] = images[0]
    assert measure(make_pictures(images, training=4)).original.tolist() == [0, 1, 2, 1, 4, 0, 1]


def test_brightness_and_contrast_are_mean_and_standard_deviation_of_the_pixels() -> None:
    images = noise(7, SHAPE)
    images[2] = 200
    statistics = measure(make_pictures(images, training=4))
    assert statistics.brightness == pytest.approx(images.mean(axis=(1, 2, 3)), abs=0.005)
    assert statistics.contrast == pytest.approx(images.std(axis=(1, 2, 3)), abs=0.005)
    assert statistics.contrast[2] == 0


def test_fences_are_at_a_multiple_of_the_interquartile_range() -> None:
    assert fences(np.arange(1, 101), 3) == (25 - 150, 75 + 150)
