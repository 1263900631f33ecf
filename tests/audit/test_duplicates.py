"""Known near duplicates are found, and the correlation is exact."""

import numpy as np
import pytest
from audit_helpers import make_pictures, noise

from image_classifier.audit import duplicates
from image_classifier.audit.duplicates import correlate, find_neighbours
from image_classifier.dataset import Arrays


def find(images: np.ndarray, threshold: float = 0.99) -> tuple[list[list[int]], list[float]]:
    found = find_neighbours(make_pictures(images, training=len(images) // 2), np.arange(len(images)), threshold)
    assert found.complete
    return found.pairs.tolist(), found.similarity.tolist()


@pytest.mark.parametrize("shape", [(28, 28, 1), (64, 64, 3)], ids=["grey", "colour"])
def test_copies_of_another_brightness_and_contrast_are_near_duplicates(shape: tuple[int, ...]) -> None:
    images = noise(60, shape)
    images[55] = images[3] // 2 + 100
    images[20] = images[4] ^ 1
    pairs, similarity = find(images)
    assert sorted(pairs) == [[3, 55], [4, 20]]
    assert min(similarity) > 0.999


def test_every_pair_above_the_threshold_is_found_among_real_images(raw: Arrays) -> None:
    images = raw["train_images"][raw["train_labels"] == 1][:1500, ..., np.newaxis]  # across tiles
    exact = np.triu(np.corrcoef(images.reshape(len(images), -1)).round(4), 1)
    pairs, similarity = find(images, threshold=0.97)
    assert len(pairs) > 100
    assert sorted(pairs) == np.argwhere(exact >= 0.97).tolist()
    assert similarity == sorted(similarity, reverse=True)


def test_the_nearest_image_of_an_unusual_one_is_far(raw: Arrays) -> None:
    images = np.concatenate([raw["train_images"][:300, ..., np.newaxis], noise(1, (28, 28, 1))])
    nearest = find_neighbours(make_pictures(images, training=200), np.arange(301), 0.99).nearest
    assert nearest.argmin() == 300


def test_the_correlation_is_pearsons() -> None:
    first, second = noise(2, (5, 4, 3), seed=1), noise(2, (5, 4, 3), seed=2)
    expected = [np.corrcoef(one.ravel(), other.ravel())[0, 1] for one, other in zip(first, second, strict=True)]
    assert correlate(first, second) == pytest.approx(expected, abs=5e-5)


def test_too_many_similar_images_end_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "MAX_CANDIDATES", 10)
    images = np.concatenate([noise(1, (8, 8, 1))] * 12)
    images[np.arange(12), 0, 0, 0] = np.arange(12)
    assert not find_neighbours(make_pictures(images, training=6), np.arange(12), 0.9).complete


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_few_images_are_compared(count: int) -> None:
    assert find(noise(count, (5, 4, 1))) == ([], [])
