"""Selection of the examples that are used, and their description in numbers."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from image_classifier.dataset import ARRAY_NAMES, DESCRIPTION, Examples, read_array
from image_classifier.errors import InputError
from image_classifier.fetch.arrays import image_shape
from image_classifier.fetch.mnist import verify_digests
from image_classifier.prepare.split import split_raw

if TYPE_CHECKING:
    from image_classifier.config.schema import Data

CHUNK = 1000  # images that are in memory at the same time


def prepare_examples(data: "Data", raw: Path, folder: Path) -> None:
    """Write the images that are used, and the names of their classes, in the form that `load_examples` reads.

    Args:
        data: Description of the data set.
        raw: Folder that `fetch` wrote.
        folder: Folder that receives the files.

    Raises:
        FileNotFoundError: The raw images are missing.
        InputError: A raw file is damaged, there are fewer images than the data set asks for, or a class does not occur
            among the images that are used.
    """
    if data.source.form == "mnist":
        arrays = {name: read_array(raw / f"{name}.npy") for name in ARRAY_NAMES}
        verify_digests(arrays, data.source.sha256.model_dump(), origin=str(raw))
    for part, (images, labels, positions) in split_raw(data, raw).items():
        size = data.train_examples if part == "train" else data.test_examples
        if size is not None and size > len(positions):
            raise InputError(
                f"data.{part}_examples={size}: there are only {len(positions)} images. Write null to use all of them."
            )
        used = positions[:size]
        present = np.unique(labels[used]).tolist()
        if missing := ", ".join(name for label, name in enumerate(data.classes) if label not in present):
            raise InputError(
                f"data.{part}_examples={size}: no image has the classes {missing}. Choose a greater number."
            )
        _write_images(folder / f"{part}_images.npy", images, used)
        np.save(folder / f"{part}_labels.npy", labels[used])
    (folder / DESCRIPTION).write_text(json.dumps({"classes": data.classes}, indent=2) + "\n", encoding="utf-8")


def _write_images(path: Path, images: np.ndarray, positions: np.ndarray) -> None:
    """Write the images at some positions with a channel axis."""
    shape = (len(positions), *image_shape(images))
    written = np.lib.format.open_memmap(path, "w+", images.dtype, shape)
    for first in range(0, len(positions), CHUNK):
        chosen = images[positions[first : first + CHUNK]]
        written[first : first + CHUNK] = chosen.reshape(-1, *shape[1:])
    written.flush()


def describe_dataset(data: "Data", training: Examples, test: Examples) -> dict[str, Any]:
    """Describe a prepared data set as JSON types: the form of its images, and both parts as `describe_examples`."""
    form = {"name": data.name, "classes": data.classes, "image_shape": data.image_shape, "fit": data.fit}
    return {**form, "train": describe_examples(training), "test": describe_examples(test)}


def describe_examples(examples: Examples) -> dict[str, Any]:
    """Describe examples as JSON types: size, statistics of the pixels (0…255), and the number of each class."""
    images = examples.images
    counts = np.zeros(256, np.int64)
    for first in range(0, len(images), CHUNK):
        counts += np.bincount(images[first : first + CHUNK].ravel(), minlength=256)
    values = np.arange(256)
    used = np.flatnonzero(counts)
    mean = np.average(values, weights=counts)
    class_counts = np.bincount(examples.labels, minlength=len(examples.classes)).tolist()
    return {
        "examples": len(images),
        "pixel_minimum": int(used.min()),
        "pixel_maximum": int(used.max()),
        "pixel_mean": round(float(mean), 4),
        "pixel_standard_deviation": round(float(np.sqrt(np.average((values - mean) ** 2, weights=counts))), 4),
        "examples_per_class": dict(zip(examples.classes, class_counts, strict=True)),
    }
