"""Checkpoints, from which an interrupted training resumes with the same bits."""

import hashlib
import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from image_classifier.errors import InputError
from image_classifier.files import atomic_write


@dataclass(frozen=True)
class TrainingState:
    """State from which training resumes.

    Attributes:
        steps: Completed gradient steps of the current epoch.
        seconds: Duration of these steps.
        rows: History of the completed epochs, one row each.
        variables: Variables of the model and the optimizer: weights, slots, states of random number generators.
        metrics: Variables of the metrics of the current epoch.
    """

    steps: int = 0
    seconds: float = 0.0
    rows: tuple[dict[str, float], ...] = ()
    variables: tuple[np.ndarray, ...] = ()
    metrics: tuple[np.ndarray, ...] = ()


def write_checkpoint(path: Path, origin: dict[str, str], state: TrainingState) -> None:
    """Replace the checkpoint of a training atomically.

    Args:
        path: File to write: a SHA-256 digest, then the .npz archive that it covers.
        origin: All values that decide the training, including its machine.
        state: State to store.
    """
    header = {"origin": origin, "steps": state.steps, "seconds": state.seconds, "rows": state.rows}
    arrays: dict[str, Any] = {f"variable_{index}": array for index, array in enumerate(state.variables)}
    arrays |= {f"metric_{index}": array for index, array in enumerate(state.metrics)}
    archive = BytesIO()
    np.savez(archive, header=np.array(json.dumps(header)), **arrays)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        file.write(hashlib.sha256(archive.getbuffer()).digest())
        file.write(archive.getbuffer())


def load_checkpoint(path: Path, origin: dict[str, str]) -> TrainingState:
    """Read the checkpoint of a training, or return the initial state if there is none.

    Raises:
        InputError: The file is damaged, or belongs to another training; the message names the differences.
    """
    if not path.exists():
        return TrainingState()
    with path.open("rb") as file:
        digest, archive = file.read(hashlib.sha256().digest_size), file.read()
    if hashlib.sha256(archive).digest() != digest:
        raise InputError(f"{path} is damaged")
    with np.load(BytesIO(archive), allow_pickle=False) as arrays:
        header = json.loads(str(arrays["header"]))
        variables, metrics = (
            tuple(arrays[name] for name in arrays.files if name.startswith(f"{kind}_"))
            for kind in ("variable", "metric")
        )
    stored = header["origin"]
    differing = sorted(key for key in origin.keys() | stored.keys() if origin.get(key) != stored.get(key))
    if differing:
        raise InputError(f"{path} belongs to a training with another {', '.join(differing)}")
    return TrainingState(header["steps"], header["seconds"], tuple(header["rows"]), variables, metrics)
