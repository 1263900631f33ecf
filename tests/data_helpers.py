"""Descriptions and folders of tiny data sets."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from image_classifier.config.schema import Data, validate
from image_classifier.dataset import ARRAY_NAMES, Arrays

GOOD = ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")  # pictures of `make_folder`
SPLIT = ("train/cat/1.png", "train/dog/1.png", "test/cat/1.png", "test/dog/1.png")
DIGITS = tuple(map(str, range(10)))


def describe(form: str = "npz", **values: Any) -> Data:
    """Return the description of a data set of grey cats and dogs, 5 x 4 pixels, with other values."""
    defaults = {
        "name": "pets",
        "source": {"form": form, "skip_unreadable": False},
        "classes": ["cat", "dog"],
        "image_size": [5, 4],
        "color": "gray",
        "fit": "pad",
        "test_fraction": None,
        "train_examples": None,
        "test_examples": None,
    }
    return validate(Data, {**defaults, **values}, origin="")


def save(folder: Path, arrays: Arrays) -> Path:
    """Write arrays as .npy files."""
    folder.mkdir(exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return folder


def tiny(size: tuple[int, ...] = (5, 4)) -> Arrays:
    """Return 6 training and 4 test images of 2 classes; all differ."""
    images = np.random.default_rng(0).integers(0, 256, (10, *size), np.uint8)
    labels = np.array([0, 1, 1, 0, 1, 0, 1, 0, 0, 1], np.uint8)
    return dict(zip(ARRAY_NAMES, (images[:6], labels[:6], images[6:], labels[6:]), strict=True))


def make_folder(folder: Path, *names: str) -> Path:
    """Make a folder of grey pictures, of empty folders (names that end in "/") and of texts, all different."""
    folder.mkdir(exist_ok=True)
    for level, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir()
        elif path.suffix == ".png":
            Image.new("L", (4, 4), 10 * level).save(path)
        else:
            path.write_text("text")
    return folder
