"""MNIST as the model reads it."""

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from mnist_cnn.errors import InputError

CLASSES = 10


@dataclass(frozen=True)
class Examples:
    """Labelled images.

    Attributes:
        images: float32, (n, 28, 28, 1), in [0, 1].
        labels: uint8, (n,), 0 to 9.
    """

    images: np.ndarray
    labels: np.ndarray


def read_arrays(path: Path, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Read the named arrays, or all of them, from an .npz file.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: the file is truncated, is not an .npz file, or lacks an array.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in (arrays.files if names is None else names)}
    except (ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is damaged ({error}). Delete it and make it again: dvc repro") from None


def load_for_training(path: Path, held_out: int) -> tuple[Examples, Examples]:
    """Load what is trained on and what validates it.

    Args:
        path: of the prepared data.
        held_out: number of training images, the last ones, that validate and are not trained on; 0 takes the test
            images instead. Otherwise the test images are not even read.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: the file is damaged, or has no more training images than are held out.
    """
    training = load(path, "train")
    if not held_out:
        return training, load(path, "test")
    count = len(training.labels) - held_out
    if count <= 0:
        raise InputError(f"validation.held_out={held_out}: should be less than the {len(training.labels)} images")
    images, labels = training.images, training.labels
    return Examples(images[:count], labels[:count]), Examples(images[count:], labels[count:])


def shift(images: np.ndarray, largest: int, random: np.random.Generator) -> np.ndarray:
    """Move each image by a whole number of pixels, up to `largest` in both directions; zeros move in.

    Args:
        images: (n, height, width, channels).
        largest: pixels, from 0.
        random: chooses for each image one of the (2 x largest + 1)**2 ways, all equally probable.
    """
    margin = (largest, largest)
    padded = np.pad(images, ((0, 0), margin, margin, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, images.shape[1:3], axis=(1, 2))
    down, right = random.integers(0, 2 * largest + 1, (2, len(images)))
    return np.moveaxis(windows[np.arange(len(images)), down, right], 1, -1)


def load(path: Path, part: Literal["train", "test"]) -> Examples:
    """Load one part of the prepared data and scale its pixels from 0…255 to [0, 1].

    Raises:
        FileNotFoundError, InputError: as `read_arrays`.
    """
    names = (f"{part}_images", f"{part}_labels")
    images, labels = read_arrays(path, names).values()
    return Examples(images.astype(np.float32) / 255, labels)
