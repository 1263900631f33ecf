"""Validation of the raw images and labels."""

import numpy as np

from image_classifier.dataset import ARRAY_NAMES, CLASSES, IMAGE_SIDE, Arrays
from image_classifier.errors import InputError


def validate_arrays(arrays: Arrays, origin: str) -> None:
    """Check names, dtypes, shapes and pixel range of the arrays, and that every class occurs.

    Args:
        arrays: The four arrays of `ARRAY_NAMES`.
        origin: Source of the arrays, for the message.

    Raises:
        InputError: An array does not fit; the message names the first one.
    """
    for name in ARRAY_NAMES:
        if name not in arrays:
            raise InputError(f"{origin}: no array {name} (found: {', '.join(arrays) or 'none'}).")
        array = arrays[name]
        if array.dtype != np.uint8:
            raise InputError(f"{origin}: {name} has dtype {array.dtype} instead of uint8.")
        expected = (IMAGE_SIDE, IMAGE_SIDE) if name.endswith("images") else ()
        if array.ndim == 0 or array.shape[1:] != expected:
            shape = ", ".join(("n", *map(str, expected)))
            raise InputError(f"{origin}: {name} has shape {array.shape} instead of ({shape}).")
    for part in ("train", "test"):
        images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
        if len(images) != len(labels):
            raise InputError(f"{origin}: {len(images)} {part}_images and {len(labels)} {part}_labels.")
        if (images.min(initial=0), images.max(initial=0)) != (0, 255):
            raise InputError(f"{origin}: {part}_images range from {images.min()} to {images.max()}, not from 0 to 255.")
        if (found := np.unique(labels).tolist()) != list(range(CLASSES)):
            raise InputError(f"{origin}: {part}_labels have the classes {found} instead of 0 to {CLASSES - 1}.")


def select_examples(raw: Arrays, train_examples: int, test_examples: int) -> Arrays:
    """Return the first images of each part with a channel axis: images uint8 (n, 28, 28, 1), labels uint8 (n,).

    Raises:
        InputError: A class does not occur among so few images.
    """
    sizes = {"train": train_examples, "test": test_examples}
    chosen = {name: raw[name][: sizes[name.split("_")[0]]] for name in ARRAY_NAMES}
    validate_arrays(chosen, origin=f"the first {train_examples} train and {test_examples} test examples")
    return {name: array[..., np.newaxis] if array.ndim == 3 else array for name, array in chosen.items()}
