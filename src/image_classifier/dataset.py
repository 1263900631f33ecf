"""The prepared data set: arrays, classes, shape and splits."""

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from image_classifier.errors import InputError

Arrays = dict[str, np.ndarray]

ARRAY_NAMES = ("train_images", "train_labels", "test_images", "test_labels")
CLASSES = 10
IMAGE_SIDE = 28  # pixels
INPUT_SHAPE = (IMAGE_SIDE, IMAGE_SIDE, 1)


@dataclass(frozen=True)
class Examples:
    """Labelled images.

    Attributes:
        images: float32, (n, 28, 28, 1), in [0, 1].
        labels: uint8, (n,), 0 to 9.
    """

    images: np.ndarray
    labels: np.ndarray


def read_arrays(path: Path, names: Iterable[str] | None = None) -> Arrays:
    """Read the named arrays, or all of them, from an .npz file.

    Raises:
        FileNotFoundError: The file does not exist.
        InputError: The file is truncated, is not an .npz file, or lacks an array.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in (arrays.files if names is None else names)}
    except (ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is damaged ({error}). Delete it and make it again: dvc repro") from None


def load_examples(path: Path, part: Literal["train", "test"]) -> Examples:
    """Load one part of the prepared data set and scale its pixels from 0…255 to [0, 1].

    Raises:
        FileNotFoundError, InputError: See `read_arrays`.
    """
    images, labels = read_arrays(path, (f"{part}_images", f"{part}_labels")).values()
    return Examples(images.astype(np.float32) / 255, labels)


def load_for_training(path: Path, validation_size: int) -> tuple[Examples, Examples]:
    """Load the training and the validation images.

    Args:
        path: File of the prepared data set.
        validation_size: Number of training images, taken from the end, that validate and are not trained on. 0 means
            that the test images validate; otherwise the test images are not read.

    Raises:
        FileNotFoundError: The file does not exist.
        InputError: The file is damaged, or `validation_size` leaves no image to train on.
    """
    training = load_examples(path, "train")
    if not validation_size:
        return training, load_examples(path, "test")
    count = len(training.labels) - validation_size
    if count <= 0:
        raise InputError(f"validation.size={validation_size}: should be less than the {len(training.labels)} images")
    images, labels = training.images, training.labels
    return Examples(images[:count], labels[:count]), Examples(images[count:], labels[count:])
