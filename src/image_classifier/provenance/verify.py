"""Verification: training a recorded run again and comparing every epoch."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from image_classifier import environment, paths
from image_classifier.errors import InputError
from image_classifier.files import file_hashes
from image_classifier.paths import RunFiles
from image_classifier.provenance.history import find_commit
from image_classifier.provenance.revision import checked_out


@dataclass(frozen=True)
class RecordedRun:
    """The record of a training.

    Attributes:
        run_id: Id of its MLflow run.
        run: Name of the run.
        command: Command line that started it.
        fingerprint: Fingerprint of its result.
        commit: Commit that was checked out when it was trained; None outside of a git repository.
        uncommitted: Changed files that went into it, as text.
        files: Path and hash of its data and code.
        environment: Facts from `environment.describe`.
        configuration: Values of its config.yaml.
        history: Columns loss, accuracy, val_loss and val_accuracy; index epoch, from 1.
        model: MD5 of its model.h5.
        recipe: Recipe fingerprint, if the record has one.
    """

    run_id: str
    run: str
    command: str
    fingerprint: str
    commit: str | None
    uncommitted: str
    files: dict[str, str]
    environment: dict[str, str]
    configuration: dict[str, Any]
    history: pd.DataFrame
    model: str
    recipe: str | None


@dataclass(frozen=True)
class Verdict:
    """Comparison of a repeated training with its record.

    Attributes:
        epoch: First epoch whose metrics differ; None if all are identical.
        changes: Differences of the metrics in that epoch, repeated minus recorded; empty if a history ends earlier.
        largest: Greatest absolute difference of any metric in any epoch; infinite if a history lacks values.
        same_model: Whether model.h5 has the same bytes.
        differences: Differences of data, code, configuration and environment, as text.
        tolerance: Accepted absolute difference of the metrics; 0 requires the same bits, including the model's.
    """

    epoch: int | None
    changes: dict[str, float]
    largest: float
    same_model: bool
    differences: list[str]
    tolerance: float

    @property
    def verified(self) -> bool:
        """Whether the result is identical, or its metrics are within the tolerance."""
        if self.tolerance > 0 and self.largest <= self.tolerance:
            return True
        return self.same_model and self.epoch is None

    def __str__(self) -> str:
        """Return the verdict in a few lines."""
        if self.epoch is None and self.same_model:
            lines = ["Identical to the bit: every metric of every epoch, and model.h5."]
        elif self.epoch is None:
            lines = ["Every metric of every epoch is identical to the bit, model.h5 is not."]
        else:
            changes = ", ".join(f"{name} by {value:+.3g}" for name, value in self.changes.items())
            lines = [
                f"The first difference is in epoch {self.epoch}: {changes or 'one of the two histories ends earlier'}.",
                f"Largest difference in any epoch: {self.largest:.3g}, tolerance {self.tolerance:g}.",
            ]
        if self.differences:
            lines += ["Differences from the record:", *(f"  {difference}" for difference in self.differences)]
        elif self.epoch is not None or not self.same_model:
            lines.append("Data, code, configuration and environment are those of the record.")
        return "\n".join(lines)


def verify_run(record: RecordedRun, tolerance: float) -> Verdict:
    """Train a recorded run again in a temporary checkout of its commit, and compare.

    Args:
        record: Record of the run.
        tolerance: Accepted absolute difference of the metrics, 0 or more.

    Raises:
        InputError: The commit is unknown, or a command fails.
    """
    committed = find_commit(record.fingerprint)  # the commit that was checked out may be its parent
    commit = committed or record.commit
    if commit is None:
        raise InputError(f"MLflow run {record.run_id} ({record.run}) was trained outside of a git repository.")
    print(f"{record.run} of commit {commit[:10]}: {record.command}", flush=True)
    if not committed and record.uncommitted != "nothing":
        print(f"Uncommitted changes when it was trained: {record.uncommitted}", flush=True)
    with checked_out(commit) as root:
        return compare_with_record(record, root, _train_again(root, record.command, record.run), tolerance)


def _train_again(root: Path, command: str, run: str) -> RunFiles:
    """Make the data and train in a copy of the project that has its own MLflow store."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_", "PYTHONPATH"))}
    train = [*shlex.split(command)[1:], f"run={run}"]  # a command without a name would create another one
    for arguments in (["-m", "pipelines.fetch"], ["-m", "pipelines.prepare"], train):
        completed = subprocess.run([sys.executable, *arguments], cwd=root, env=own, check=False)
        if completed.returncode:
            raise InputError(f"{shlex.join(['python', *arguments])} ended with exit code {completed.returncode}.")
    return paths.trained_run(root, run)


def compare_with_record(record: RecordedRun, root: Path, files: RunFiles, tolerance: float) -> Verdict:
    """Compare a repeated training with its record.

    Args:
        record: Record of the first training.
        root: Copy of the project in which the training was repeated.
        files: Files of the repetition.
        tolerance: Accepted absolute difference of the metrics, 0 or more.
    """
    epoch, changes, largest = first_difference(record.history, pd.read_csv(files.history, index_col="epoch"))
    differences = [
        *list_differences(record.files, file_hashes(root, record.files)),
        *list_differences(record.configuration, yaml.safe_load(files.configuration.read_text())),
        *list_differences(record.environment, environment.describe()),
    ]
    same_model = file_hashes(files.directory, ["model.h5"])["model.h5"] == record.model
    return Verdict(epoch, changes, largest, same_model, differences, tolerance)


def list_differences(recorded: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the differences of two nested mappings as lines of text, with keys such as `optimizer.learning_rate`."""
    for key in [*recorded, *(key for key in now if key not in recorded)]:
        old, new = recorded.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from list_differences(old, new, f"{prefix}{key}.")
        elif old != new:
            old, new = ("nothing" if value is None else value for value in (old, new))
            yield f"{prefix}{key}: {old} in the record, {new} now"


def first_difference(recorded: pd.DataFrame, now: pd.DataFrame) -> tuple[int | None, dict[str, float], float]:
    """Find the first epoch in which two histories are not equal to the bit.

    Args:
        recorded: Index epoch, a column for each metric.
        now: History with the same index and columns.

    Returns:
        `epoch`, `changes` and `largest` of a `Verdict`.
    """
    old, new = recorded.align(now)
    unequal = ~((old == new) | (old.isna() & new.isna())).all(axis=1)
    if not unequal.any():
        return None, {}, 0.0
    epoch, change = unequal.idxmax(), new - old
    changes = {str(name): float(value) for name, value in change.loc[epoch].items() if value and np.isfinite(value)}
    lacking = bool((old.isna() != new.isna()).any(axis=None))
    return int(epoch), changes, np.inf if lacking else float(change.abs().max(axis=None))
