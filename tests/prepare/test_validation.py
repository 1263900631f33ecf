import numpy as np
import pytest

from image_classifier.dataset import Arrays
from image_classifier.errors import InputError
from image_classifier.prepare.validation import select_examples, validate_arrays


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("train_images", np.zeros((60_000, 28, 27), np.uint8), r"train_images has shape .* instead of \(n, 28, 28\)"),
        ("train_labels", np.zeros((60_000, 1), np.uint8), r"train_labels has shape .* instead of \(n\)"),
        ("train_images", np.zeros((60_000, 28, 28), np.float32), r"train_images has dtype float32 instead of uint8"),
        ("train_images", np.zeros((60_000, 28, 28), np.uint8), r"train_images range from 0 to 0, not from 0 to 255"),
        ("train_labels", np.zeros(60_000, np.uint8), r"train_labels have the classes \[0\] instead of 0 to 9"),
        ("train_labels", np.zeros(5, np.uint8), r"60000 train_images and 5 train_labels"),
    ],
)
def test_arrays_of_another_kind_than_mnist_are_refused(raw: Arrays, name: str, array: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=rf"^origin: {message}"):
        validate_arrays({**raw, name: array}, "origin")


def test_a_missing_array_is_named(raw: Arrays) -> None:
    with pytest.raises(InputError, match=r"^origin: no array train_images \(found: train_labels\)"):
        validate_arrays({"train_labels": raw["train_labels"]}, "origin")


def test_preparing_keeps_the_first_examples_and_adds_a_channel(raw: Arrays) -> None:
    prepared = select_examples(raw, train_examples=300, test_examples=200)
    assert prepared["train_images"].shape == (300, 28, 28, 1)
    np.testing.assert_array_equal(prepared["test_images"][..., 0], raw["test_images"][:200])
    np.testing.assert_array_equal(prepared["test_labels"], raw["test_labels"][:200])


def test_a_missing_class_among_the_selected_examples_is_refused(raw: Arrays) -> None:
    with pytest.raises(InputError, match=r"^the first 5 train and 200 test examples: train_labels have the classes"):
        select_examples(raw, train_examples=5, test_examples=200)
