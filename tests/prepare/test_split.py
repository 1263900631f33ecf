"""Split by content: random images, some of them copies."""

from pathlib import Path

import numpy as np
import pytest

from image_classifier.errors import InputError
from image_classifier.prepare.split import split_by_content

CLASSES = ["cat", "dog"]


@pytest.fixture
def images() -> np.ndarray:
    """200 images of 3 x 3 pixels, the last 20 of them copies of the first."""
    images = np.random.default_rng(0).integers(0, 256, (200, 3, 3, 1), np.uint8)
    images[-20:] = images[:20]
    return images


@pytest.fixture
def labels() -> np.ndarray:
    return (np.arange(200) % 2).astype(np.uint8)


def contents(images: np.ndarray, positions: np.ndarray) -> list[bytes]:
    return [images[position].tobytes() for position in positions]


def test_each_image_is_in_one_part(images: np.ndarray, labels: np.ndarray) -> None:
    train, test = split_by_content(images, labels, 0.3, CLASSES)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(200))


def test_the_test_part_has_about_its_fraction() -> None:
    images = np.arange(8000, dtype=np.uint16).view(np.uint8).reshape(8000, 2, 1, 1)
    _, test = split_by_content(images, np.arange(8000) % 2, 0.25, CLASSES)
    assert abs(len(test) - 2000) < 3 * np.sqrt(8000 * 0.25 * 0.75)


def test_copies_are_in_one_part(images: np.ndarray, labels: np.ndarray) -> None:
    train, test = split_by_content(images, labels, 0.3, CLASSES)
    assert not set(contents(images, train)) & set(contents(images, test))
    assert len(set(contents(images, test))) < len(test)  # some copies are there


def test_the_order_of_the_files_changes_no_part_and_no_order(images: np.ndarray, labels: np.ndarray) -> None:
    expected = split_by_content(images, labels, 0.3, CLASSES)
    order = np.random.default_rng(1).permutation(200)
    found = split_by_content(images[order], labels[order], 0.3, CLASSES)
    for one, other in zip(expected, found, strict=True):
        assert contents(images, one) == contents(images[order], other)
        np.testing.assert_array_equal(labels[one], labels[order][other])


def test_the_order_of_the_parts_is_shuffled(images: np.ndarray, labels: np.ndarray) -> None:
    train, _ = split_by_content(images, labels, 0.3, CLASSES)
    assert abs(np.corrcoef(train, np.arange(len(train)))[0, 1]) < 0.3


def test_added_images_move_no_other_image(images: np.ndarray, labels: np.ndarray) -> None:
    few, _ = split_by_content(images[:150], labels[:150], 0.3, CLASSES)
    many, _ = split_by_content(images, labels, 0.3, CLASSES)
    assert [position for position in many if position < 150] == few.tolist()


def test_copies_are_in_the_order_of_their_labels_then_positions() -> None:
    images = np.zeros((6, 2, 2, 1), np.uint8)  # with a digest of 0.87, in the training part
    images[4:] = 1  # 0.16, in the test part
    train, test = split_by_content(images, np.array([1, 0, 1, 0, 1, 0]), 0.5, CLASSES)
    assert (train.tolist(), test.tolist()) == ([1, 3, 0, 2], [5, 4])


@pytest.mark.parametrize(
    ("fraction", "message"),
    [
        (
            1e-9,
            "test_fraction=1e-09: the test part has none of the 100 pictures of the class cat. Add pictures, or raise ",
        ),
        (0.999999, "test_fraction=0.999999: the training part has none of the 100 pictures of the class cat. Add "),
    ],
)
def test_a_part_without_a_class_is_refused(
    fraction: float, message: str, images: np.ndarray, labels: np.ndarray
) -> None:
    with pytest.raises(InputError) as raised:
        split_by_content(images, labels, fraction, CLASSES)
    assert str(raised.value).startswith(message)


def test_a_class_without_any_picture_is_refused(images: np.ndarray, labels: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"the training part has none of the 0 pictures of the class eel\."):
        split_by_content(images, labels, 0.3, [*CLASSES, "eel"])


def test_memory_mapped_images_give_the_same_parts(images: np.ndarray, labels: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    for one, other in zip(
        split_by_content(images, labels, 0.3, CLASSES), split_by_content(mapped, labels, 0.3, CLASSES), strict=True
    ):
        np.testing.assert_array_equal(one, other)
