"""All images of a data set under one numbering, and the brightness and contrast of each."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from image_classifier.dataset import Examples

BATCH_BYTES = 4_000_000  # pixels that are in memory at the same time; float64 copies of them take eight times as much


@dataclass(frozen=True)
class Pictures:
    """Training and test images. Positions from 0 number the training images, and then the test images.

    Attributes:
        training: Training images.
        test: Test images.
        names: File of each image, or nothing if the images have no files.
    """

    training: Examples
    test: Examples
    names: Sequence[str] = ()

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.training) + len(self.test)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.training.classes

    @cached_property
    def labels(self) -> np.ndarray:
        """Labels of all images, (n,)."""
        return np.concatenate([self.training.labels, self.test.labels])

    @cached_property
    def pixels(self) -> int:
        """Number of values of an image: height x width x channels."""
        return int(np.prod(self.training.images.shape[1:]))

    @property
    def batch_size(self) -> int:
        """Number of images that are read together."""
        return max(1, BATCH_BYTES // self.pixels)

    def is_test(self, positions: np.ndarray) -> np.ndarray:
        """Return whether each position is that of a test image."""
        return positions >= len(self.training)

    def read(self, positions: np.ndarray) -> np.ndarray:
        """Read images: uint8, (positions, height, width, channels)."""
        images = np.empty((len(positions), *self.training.images.shape[1:]), np.uint8)
        test = self.is_test(positions)
        images[~test] = self.training.images[positions[~test]]
        images[test] = self.test.images[positions[test] - len(self.training)]
        return images

    def batches(self) -> Iterator[np.ndarray]:
        """Yield the pixels of all images in batches: uint8, (images, pixels)."""
        for images in (self.training.images, self.test.images):
            for first in range(0, len(images), self.batch_size):
                yield np.asarray(images[first : first + self.batch_size]).reshape(-1, self.pixels)

    def describe(self, position: int) -> str:
        """Return part, number in this part and class of an image, such as "train 5: cat"."""
        test = position >= len(self.training)
        number = position - len(self.training) if test else position
        return f"{'test' if test else 'train'} {number}: {self.classes[self.labels[position]]}"

    def identify(self, position: int) -> str:
        """Return the description of an image and its file, if it has one, such as "train 5: cat, cat/0031.png"."""
        return ", ".join([self.describe(position), *self.names[position : position + 1]])


@dataclass(frozen=True)
class Statistics:
    """Numbers of each image.

    Attributes:
        original: int64, (n,), position of the first image with the same pixels, which is its own without a copy.
        brightness: float64, (n,), mean of the pixels, 0 to 255.
        contrast: float64, (n,), standard deviation of the pixels, 0 to 127.5.
    """

    original: np.ndarray
    brightness: np.ndarray
    contrast: np.ndarray


def measure(pictures: Pictures) -> Statistics:
    """Measure all images in one pass. Sums are of integers, so the result does not depend on their order."""
    originals: dict[bytes, int] = {}
    original: list[int] = []
    sums, squares = [], []
    for batch in pictures.batches():
        digests = (hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in batch)
        original += [originals.setdefault(digest, len(original) + offset) for offset, digest in enumerate(digests)]
        wide = batch.astype(np.float64)
        sums.append(wide.sum(axis=1))
        squares.append(np.einsum("ij,ij->i", wide, wide))
    brightness = np.concatenate(sums) / pictures.pixels
    variance = np.concatenate(squares) / pictures.pixels - brightness**2
    return Statistics(np.array(original), brightness.round(2), np.sqrt(variance.clip(0)).round(2))


def fences(values: np.ndarray, ranges: float) -> tuple[float, float]:
    """Return the limits outside of which a value is far out: quartiles -/+ `ranges` times their distance.

    Tukey (Exploratory Data Analysis, 1977) calls values beyond 3 interquartile ranges far out. The quartiles are values
    of the data, so they do not depend on rounding.
    """
    low, high = np.quantile(values, (0.25, 0.75), method="inverted_cdf").tolist()
    return low - ranges * (high - low), high + ranges * (high - low)
