"""Proof that arrays are the original MNIST: SHA-256 digests of its IDX files."""

import hashlib
import struct
from collections.abc import Mapping

import numpy as np

from image_classifier.dataset import ARRAY_NAMES, Arrays
from image_classifier.errors import InputError


def idx_sha256(array: np.ndarray) -> str:
    """Return the SHA-256 of the IDX file that holds a uint8 array: magic number, sizes (big-endian), bytes."""
    header = struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape)
    return hashlib.sha256(header + array.tobytes()).hexdigest()


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
