"""The prepared data set: images, labels, classes and splits."""

import json
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from image_classifier.errors import InputError

Arrays = dict[str, np.ndarray]

ARRAY_NAMES = ("train_images", "train_labels", "test_images", "test_labels")
DESCRIPTION = "dataset.json"


@dataclass(frozen=True)
class Examples:
    """Labelled images.

    Attributes:
        images: uint8, (n, height, width, channels), 0…255; memory-mapped, so that they can exceed the memory.
        labels: uint8 or uint16, (n,): positions in `classes`.
        classes: Names of the classes.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def __getitem__(self, chosen: slice) -> "Examples":
        """Return a part of the images."""
        return Examples(self.images[chosen], self.labels[chosen], self.classes)


def scale_pixels(images: np.ndarray) -> np.ndarray:
    """Return pixels of 0…255 as models receive them: float32, 0 to 1."""
    scaled: np.ndarray = images.astype(np.float32) / 255
    return scaled


def read_arrays(path: Path, names: Iterable[str]) -> Arrays:
    """Read the named arrays from an .npz file.

    Raises:
        FileNotFoundError: The file does not exist.
        InputError: The file is truncated, is not an .npz file, or lacks an array.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except (ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise damaged(path, error) from None


def read_array(path: Path) -> np.ndarray:
    """Map an .npy file into memory, which reads only the parts that are used.

    Raises:
        FileNotFoundError: The file does not exist.
        InputError: The file is truncated, or is not an .npy file.
    """
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise damaged(path, error) from None
    return array


def read_classes(folder: Path) -> tuple[str, ...]:
    """Return the names of the classes of a prepared data set.

    Raises:
        FileNotFoundError: The data set is missing.
        InputError: Its description is damaged.
    """
    path = folder / DESCRIPTION
    try:
        description: Any = json.loads(path.read_bytes())
        return tuple(map(str, description["classes"]))
    except (ValueError, LookupError, TypeError) as error:
        raise damaged(path, error) from None


def load_examples(folder: Path, part: Literal["train", "test"]) -> Examples:
    """Load one part of a prepared data set.

    Raises:
        FileNotFoundError: A file is missing.
        InputError: A file is damaged.
    """
    images, labels = (read_array(folder / f"{part}_{name}.npy") for name in ("images", "labels"))
    return Examples(images, labels, read_classes(folder))


def load_for_training(folder: Path, validation_size: float) -> tuple[Examples, Examples]:
    """Load the training and the validation images.

    Args:
        folder: Folder of the prepared data set.
        validation_size: Number of training images, taken from the end, that validate and are not trained on; below 1,
            their share. 0 means that the test images validate; otherwise the test images are not read.

    Raises:
        FileNotFoundError: A file is missing.
        InputError: A file is damaged, or `validation_size` leaves no image to train on, or none to validate on.
    """
    training = load_examples(folder, "train")
    if not validation_size:
        return training, load_examples(folder, "test")
    held_out = count_held_out(len(training), validation_size)
    if not 0 < held_out < len(training):
        parts = f"{held_out} of the {len(training)} training images would be held out"
        raise InputError(f"validation.size={validation_size}: {parts}. Choose a value between none and all.")
    return training[:-held_out], training[-held_out:]


def count_held_out(images: int, validation_size: float) -> int:
    """Return the number of training images that are held out, see `load_for_training`."""
    return round(validation_size * images if validation_size < 1 else validation_size)


def damaged(path: Path, error: Exception) -> InputError:
    """Return the error for a damaged file of the data set, with its remedy."""
    return InputError(f"{path} is damaged ({error}). Delete it and make it again: dvc repro")
