"""Near duplicates: pairs of different images whose pixels correlate almost perfectly."""

import math
import sys
from dataclasses import dataclass

import numpy as np
from sklearn.utils.extmath import randomized_svd
from tqdm import tqdm

from image_classifier.audit.pictures import Pictures

COMPONENTS = 32  # singular components, and as many random projections of the rest, in a sketch
SAMPLE = 2000  # images from which the singular components are computed
SAMPLE_PIXELS = 2**24
TILE = 1024  # images that are compared with as many others at a time: the matrix fits into a processor's cache
DEVIATIONS = 5  # standard deviations of a sketch's error that are allowed for
MAX_CANDIDATES = 1_000_000  # pairs that are compared pixel by pixel
SEED = 0


@dataclass(frozen=True)
class Neighbours:
    """Similar images.

    Attributes:
        pairs: int64, (m, 2), positions of near duplicates, the most similar pair first.
        similarity: float64, (m,), correlation of their pixels, rounded to 4 digits.
        nearest: float64, (n,), estimated similarity of each image and the most similar other one, rounded to 3 digits.
        complete: Whether all candidates were compared.
    """

    pairs: np.ndarray
    similarity: np.ndarray
    nearest: np.ndarray
    complete: bool


def find_neighbours(pictures: Pictures, positions: np.ndarray, threshold: float) -> Neighbours:
    """Find all near duplicates among some images.

    Each image becomes a sketch of 64 numbers. The product of two sketches estimates the correlation of the pixels; its
    standard error is at most (1 - r^2) / sqrt(32) at a correlation r. Pairs whose estimate is above the threshold
    minus five standard errors are compared pixel by pixel. Time grows with the square of the number of images, and
    memory by 300 bytes per image.

    Args:
        pictures: Images.
        positions: Images to compare, which differ from each other and have more than one colour.
        threshold: Least correlation of near duplicates, 0 to 1.
    """
    if len(positions) < 2:
        return Neighbours(np.empty((0, 2), np.int64), np.empty(0), np.full(len(positions), -1.0), True)
    sketches = make_sketches(pictures, positions)
    limit = threshold - DEVIATIONS * (1 - threshold**2) / np.sqrt(COMPONENTS)
    nearest = np.full(len(positions), -1, np.float32)
    pairs, similarities, candidates = [np.empty((0, 2), np.int64)], [np.empty(0)], 0
    starts = range(0, len(positions), TILE)
    for first in tqdm(starts, desc="Comparing", unit="tile", file=sys.stderr, disable=None, leave=False):
        for second in starts[first // TILE :]:
            estimates = sketches[first : first + TILE] @ sketches[second : second + TILE].T
            if first == second:
                np.fill_diagonal(estimates, -1)
            best = estimates.max(axis=1)
            for start, values in ((first, best), (second, estimates.max(axis=0))):
                part = nearest[start : start + TILE]
                np.maximum(part, values, out=part)
            if best.max() < limit or candidates >= MAX_CANDIDATES:
                continue
            found = np.argwhere(np.triu(estimates >= limit) if first == second else estimates >= limit)
            candidates += len(found)
            found = positions[found + np.array([first, second])]
            for chunk in np.array_split(found, math.ceil(len(found) / pictures.batch_size)):
                similarity = correlate(*(pictures.read(chunk[:, side]) for side in (0, 1)))
                near = similarity >= threshold
                pairs.append(chunk[near])
                similarities.append(similarity[near])
    similarity = np.concatenate(similarities)
    every_pair = np.concatenate(pairs)
    order = np.lexsort((every_pair[:, 1], every_pair[:, 0], -similarity))
    return Neighbours(
        every_pair[order], similarity[order], nearest.astype(np.float64).round(3), candidates < MAX_CANDIDATES
    )


def make_sketches(pictures: Pictures, positions: np.ndarray) -> np.ndarray:
    """Return the sketches of images, float32, (positions, at most 64), each of length 1.

    A sketch has the first singular components of the standardized pixels, computed from a sample, and random
    projections of the rest (Johnson and Lindenstrauss, 1984), so that images without a common structure differ, too.
    They are computed in float64, which keeps differences between machines below the digits that are reported.
    """
    random = np.random.default_rng(SEED)
    size = min(len(positions), SAMPLE, max(2, SAMPLE_PIXELS // pictures.pixels))
    sample = _standardize(pictures.read(np.sort(random.choice(positions, size, replace=False))))
    rank = min(COMPONENTS, *sample.shape)
    components = randomized_svd(sample, rank, random_state=SEED)[2].T
    projection = random.standard_normal((pictures.pixels, COMPONENTS)) / np.sqrt(COMPONENTS)
    sketches = []
    for first in range(0, len(positions), pictures.batch_size):
        pixels = _standardize(pictures.read(positions[first : first + pictures.batch_size]))
        structure = pixels @ components
        rest = (pixels - structure @ components.T) @ projection
        sketches.append(_normalize(np.hstack([structure, rest])).astype(np.float32))
    return np.concatenate(sketches)


def _standardize(images: np.ndarray) -> np.ndarray:
    """Return the pixels of images of more than one colour with mean 0 and length 1: float64, (n, pixels)."""
    pixels = images.reshape(len(images), -1).astype(np.float64)
    pixels -= pixels.mean(axis=1, keepdims=True)
    return _normalize(pixels)


def _normalize(vectors: np.ndarray) -> np.ndarray:
    normalized: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return normalized


def correlate(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation of the pixels of each pair of images, rounded to 4 digits.

    All sums are integers, which float64 holds exactly. The result is therefore the same on every machine.

    Args:
        first: uint8, (n, height, width, channels), more than one colour.
        second: Images in the same form.
    """
    x, y = (images.reshape(len(images), -1).astype(np.float64) for images in (first, second))
    size = x.shape[1]

    def covariance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.asarray(size * np.einsum("ij,ij->i", one, other) - one.sum(axis=1) * other.sum(axis=1))

    correlation: np.ndarray = covariance(x, y) / np.sqrt(covariance(x, x) * covariance(y, y))
    return correlation.round(4)
