"""Split of a data set into a training and a test part by the content of its pictures."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from image_classifier.dataset import read_array
from image_classifier.errors import InputError

if TYPE_CHECKING:
    from image_classifier.config.schema import Data


def split_raw(data: "Data", raw: Path) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Split the images that `fetch` wrote into "train" and "test".

    Pictures that their folders sort by class are shuffled; other sources with test images keep their order.

    Args:
        data: Description of the data set.
        raw: Folder that `fetch` wrote.

    Returns:
        For each part: raw images, raw labels, and the positions of its images in the order in which they are used.

    Raises:
        FileNotFoundError: The raw images are missing.
        InputError: A file is damaged, `data.test_fraction` does not fit the source, or see `split_by_content`.
    """
    conf = f"conf/data/{data.name}.yaml: test_fraction"
    if (raw / "images.npy").exists():
        if data.test_fraction is None:
            raise InputError(f"{conf}: the data has no test images. Write 0.2, for example.")
        images, labels = read_array(raw / "images.npy"), read_array(raw / "labels.npy")
        split = split_by_content(images, labels, data.test_fraction, data.classes)
        return {part: (images, labels, order) for part, order in zip(("train", "test"), split, strict=True)}
    if data.test_fraction is not None:
        raise InputError(f"{conf}: the data has test images of its own. Write null.")
    parts = {}
    for part in ("train", "test"):
        images, labels = read_array(raw / f"{part}_images.npy"), read_array(raw / f"{part}_labels.npy")
        is_sorted_by_class = data.source.form in ("image_folder", "csv")
        order = _order_by_content(images, labels)[0] if is_sorted_by_class else np.arange(len(labels))
        parts[part] = (images, labels, order)
    return parts


def split_by_content(
    images: np.ndarray, labels: np.ndarray, test_fraction: float, classes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of the training and of the test images, int64.

    An image belongs to the test part if the first 8 bytes of the SHA-256 of its bytes, as a fraction of 2**64, are less
    than `test_fraction`. Copies of an image are therefore in one part, and added images move no other one. Both parts
    are in the order of their digests, a shuffle that does not depend on the order of the images. Copies are in the
    order of their labels, then of their positions.

    Args:
        images: uint8, (n, height, width, channels); may be memory-mapped, since one image is read at a time.
        labels: (n,), positions in `classes`.
        test_fraction: Expected share of the test part, in (0, 1).
        classes: Names of the classes.

    Raises:
        InputError: A class has no image in one of the parts.
    """
    order, shares = _order_by_content(images, labels)
    is_test = shares < test_fraction
    parts = {"training": order[~is_test], "test": order[is_test]}
    for part, positions in parts.items():
        counts = np.bincount(labels[positions], minlength=len(classes))
        if not counts.all():
            label = int(counts.argmin())
            raise InputError(
                f"test_fraction={test_fraction}: the {part} part has none of the {np.count_nonzero(labels == label):,} "
                f"pictures of the class {classes[label]}. "
                f"Add pictures, or {'raise' if part == 'test' else 'lower'} the fraction."
            )
    return parts["training"], parts["test"]


def _order_by_content(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions in the order of the digests, and the digest of each as a fraction."""
    digests = [hashlib.sha256(image.tobytes()).digest() for image in images]
    order = sorted(range(len(images)), key=lambda position: (digests[position], labels[position], position))
    shares = [int.from_bytes(digests[position][:8]) / 2**64 for position in order]
    return np.array(order), np.array(shares)
