from pathlib import Path

import numpy as np
import pytest

from image_classifier.dataset import load_examples, load_for_training
from image_classifier.errors import InputError


def test_pixels_are_scaled_to_0_to_1_and_labels_are_kept(npz: Path) -> None:
    np.savez(npz, test_images=np.array([[[[0], [51], [255]]]], np.uint8), test_labels=np.array([7], np.uint8))
    test = load_examples(npz, "test")
    assert test.images.dtype == np.float32
    np.testing.assert_array_equal(test.images.ravel(), np.array([0, 0.2, 1], np.float32))
    assert test.labels.tolist() == [7]


def test_a_truncated_file_is_named(npz: Path) -> None:
    np.savez(npz, test_images=np.zeros(1000), test_labels=np.zeros(1000))
    npz.write_bytes(npz.read_bytes()[:5000])
    with pytest.raises(InputError, match=rf"^{npz} is damaged"):
        load_examples(npz, "test")


def test_a_file_without_the_array_is_named(npz: Path) -> None:
    np.savez(npz, test_images=np.zeros(10))
    with pytest.raises(InputError, match=rf"^{npz} is damaged .*test_labels"):
        load_examples(npz, "test")


def test_a_pickle_is_refused(npz: Path) -> None:
    np.savez(npz, test_images=np.array([{}], object), test_labels=np.zeros(1))
    with pytest.raises(InputError, match=rf"^{npz} is damaged .*pickle"):
        load_examples(npz, "test")


def save_counted(npz: Path) -> None:
    images = np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1)
    np.savez(npz, train_images=images, train_labels=images.ravel(), test_images=images[:2] + 10, test_labels=[9, 9])


def test_the_last_training_images_are_held_out(npz: Path) -> None:
    save_counted(npz)
    training, validation = load_for_training(npz, validation_size=2)
    assert training.labels.tolist() == [0, 1, 2, 3]
    assert validation.labels.tolist() == [4, 5]
    np.testing.assert_allclose(validation.images.ravel() * 255, [4, 5])


def test_the_test_images_validate_when_none_are_held_out(npz: Path) -> None:
    save_counted(npz)
    training, validation = load_for_training(npz, validation_size=0)
    assert (len(training.labels), validation.labels.tolist()) == (6, [9, 9])


def test_holding_out_all_images_is_refused(npz: Path) -> None:
    save_counted(npz)
    with pytest.raises(InputError, match=r"^validation\.size=6: should be less than the 6 images$"):
        load_for_training(npz, validation_size=6)
