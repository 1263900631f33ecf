"""Images for the tests of the audit."""

import numpy as np

from image_classifier.audit.pictures import Pictures
from image_classifier.dataset import Examples


def noise(count: int, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Return images of random pixels."""
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def make_pictures(images: np.ndarray, training: int, labels: np.ndarray | None = None, classes: int = 2) -> Pictures:
    """Make a data set whose first images are the training images; the labels are 0, 1, 0, 1, … unless given."""
    labels = np.arange(len(images)) % classes if labels is None else labels
    examples = Examples(images, labels.astype(np.uint16), tuple(f"class {number}" for number in range(classes)))
    return Pictures(examples[:training], examples[training:])
