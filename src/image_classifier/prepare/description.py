"""Description of the data set in numbers."""

from typing import Any

import numpy as np

from image_classifier.dataset import CLASSES, Arrays


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
