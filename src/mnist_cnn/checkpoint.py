"""Checkpoints: a training that is cut off goes on as if nothing had happened."""

import hashlib
import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from mnist_cnn import paths
from mnist_cnn.errors import InputError


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Attributes:
        steps: gradient steps in the epoch that is not complete.
        seconds: that they took.
        rows: of the history, one for each complete epoch.
        variables: of the model and its optimizer: weights, slots, states of random number generators.
        measured: variables of the measures of the epoch that is not complete.
    """

    steps: int = 0
    seconds: float = 0.0
    rows: tuple[dict[str, float], ...] = ()
    variables: tuple[np.ndarray, ...] = ()
    measured: tuple[np.ndarray, ...] = ()


def write(path: Path, origin: dict[str, str], progress: Progress) -> None:
    """Replace the checkpoint; one that is killed meanwhile leaves the previous one.

    Args:
        path: of a file: the SHA-256 of the rest, then an .npz archive.
        origin: what decides the training, its machine included.
        progress: to keep.
    """
    about = {"origin": origin, "steps": progress.steps, "seconds": progress.seconds, "rows": progress.rows}
    arrays: dict[str, Any] = {f"variable_{index}": array for index, array in enumerate(progress.variables)}
    arrays |= {f"measured_{index}": array for index, array in enumerate(progress.measured)}
    archive = BytesIO()
    np.savez(archive, about=np.array(json.dumps(about)), **arrays)
    with paths.replacing(path) as temporary, temporary.open("wb") as file:
        file.write(hashlib.sha256(archive.getbuffer()).digest())
        file.write(archive.getbuffer())


def read(path: Path, origin: dict[str, str]) -> Progress:
    """Read the checkpoint of a training; without one there is no progress.

    Raises:
        InputError: the file is damaged, or belongs to another training; it names what differs.
    """
    if not path.exists():
        return Progress()
    with path.open("rb") as file:
        digest, archive = file.read(hashlib.sha256().digest_size), file.read()
    if hashlib.sha256(archive).digest() != digest:
        raise InputError(f"{path} is damaged")
    with np.load(BytesIO(archive), allow_pickle=False) as arrays:
        about = json.loads(str(arrays["about"]))
        variables, measured = (
            tuple(arrays[name] for name in arrays.files if name.startswith(f"{kind}_"))
            for kind in ("variable", "measured")
        )
    theirs = about["origin"]
    differing = sorted(key for key in origin.keys() | theirs.keys() if origin.get(key) != theirs.get(key))
    if differing:
        raise InputError(f"{path} belongs to a training with another {', '.join(differing)}")
    return Progress(about["steps"], about["seconds"], tuple(about["rows"]), variables, measured)
