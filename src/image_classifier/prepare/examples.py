"""Selection of the examples that are used, and their description in numbers."""

from typing import Any

import numpy as np

from image_classifier.dataset import ARRAY_NAMES, CLASSES, Arrays
from image_classifier.errors import InputError


def select_examples(raw: Arrays, train_examples: int, test_examples: int) -> Arrays:
    """Return the first images of each part with a channel axis: images uint8 (n, 28, 28, 1), labels uint8 (n,).

    Raises:
        InputError: A class does not occur among so few images.
    """
    sizes = {"train": train_examples, "test": test_examples}
    chosen = {name: raw[name][: sizes[name.split("_")[0]]] for name in ARRAY_NAMES}
    for part, size in sizes.items():
        if missing := set(range(CLASSES)) - set(chosen[f"{part}_labels"].tolist()):
            raise InputError(
                f"data.{part}_examples={size}: no image has the classes {missing}. Choose a greater number."
            )
    return {name: array[..., np.newaxis] if array.ndim == 3 else array for name, array in chosen.items()}


def describe_dataset(prepared: Arrays) -> dict[str, Any]:
    """Describe prepared data: sizes, statistics of the pixels (0…255), and the number of examples of each class."""
    return {part: _describe(prepared[f"{part}_images"], prepared[f"{part}_labels"]) for part in ("train", "test")}


def _describe(images: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    batches = np.array_split(images, 100)  # bincount converts each pixel to int64
    values, counts = np.arange(256), sum(np.bincount(batch.ravel(), minlength=256) for batch in batches)
    mean = np.average(values, weights=counts)
    return {
        "examples": len(images),
        "image_shape": " x ".join(map(str, images.shape[1:])),
        "dtype": str(images.dtype),
        "pixel_minimum": int(images.min()),
        "pixel_maximum": int(images.max()),
        "pixel_mean": round(float(mean), 4),
        "pixel_standard_deviation": round(float(np.sqrt(np.average((values - mean) ** 2, weights=counts))), 4),
        "examples_per_class": dict(enumerate(np.bincount(labels, minlength=CLASSES).tolist())),
    }
