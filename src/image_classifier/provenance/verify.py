"""Verification: training a recorded run again and comparing every epoch."""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from image_classifier import environment, paths
from image_classifier.errors import InputError
from image_classifier.files import file_hashes, read_history
from image_classifier.paths import RunFiles
from image_classifier.provenance.differences import find_differences, flatten
from image_classifier.provenance.fingerprint import TrainingInput
from image_classifier.provenance.history import find_commit
from image_classifier.provenance.result import RecordedRun
from image_classifier.provenance.revision import checked_out


def verify_run(record: RecordedRun, tolerance: float) -> tuple[bool, str]:
    """Train a recorded run again in a temporary checkout of its commit, and compare.

    Args:
        record: Record of the run.
        tolerance: Accepted absolute difference of the metrics, 0 or more.

    Returns:
        See `compare_with_record`.

    Raises:
        InputError: The commit is unknown, or a command fails.
    """
    training = record.input
    committed = find_commit(record.fingerprint)  # a result is usually committed after its training
    commit = committed or record.commit
    if commit is None:
        place = f"MLflow run {record.run_id} ({training.run}) was trained outside of a git repository"
        raise InputError(f"{place}, so its files are unknown. Train it again in a clone of the project.")
    print(f"{training.run} of commit {commit[:10]}: {training.command}", flush=True)
    if not committed and record.uncommitted != "nothing":
        print(f"It was trained with changes that this commit lacks, so it may differ: {record.uncommitted}", flush=True)
    with checked_out(commit) as root:
        try:
            files = _train_again(root, training)
        except InputError as error:
            if committed or record.uncommitted == "nothing":
                raise InputError(f"commit {commit[:10]}: {error}") from None
            reason, _, _ = str(error).partition(". ")
            remedy = f"Commit the changes of {record.uncommitted}, type dvc repro, and verify the new result"
            raise InputError(f"commit {commit[:10]} cannot repeat this training: {reason}. {remedy}.") from None
        changes = compare_histories(record.history, read_history(files.history))
        same_model = file_hashes(files.directory, ["model.h5"])["model.h5"] == record.model
        facts = environment.describe()
        recorded = training.files | training.config | record.environment
        now = (
            file_hashes(root, training.files)
            | yaml.safe_load(files.configuration.read_text(encoding="utf-8"))
            | {name: fact for name, fact in facts.items() if name in record.environment}
        )
    found = find_differences(flatten(recorded), flatten(now), "nothing")
    differences = [f"{key}: {old} in the record, {new} now" for key, old, new in found]
    unknown = [name for name in facts if name not in record.environment]
    return compare_with_record(changes, same_model, differences, tolerance, unknown)


def _train_again(root: Path, training: TrainingInput) -> RunFiles:
    """Make the data and train in a copy of the project that has its own MLflow store.

    Raises:
        InputError: A command fails; the message is its last line, with paths relative to the copy.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_", "PYTHONPATH"))}
    run, data = training.run, training.data
    train = [*shlex.split(training.command)[1:], f"run={run}"]  # without run=, the command would choose a new name
    for arguments in (["-m", "pipelines.fetch", f"data={data}"], ["-m", "pipelines.prepare", f"data={data}"], train):
        completed = subprocess.run(
            [sys.executable, *arguments], cwd=root, env=own, check=False, stderr=subprocess.PIPE, text=True
        )
        *lines, last = completed.stderr.replace(f"{root}{os.sep}", "").splitlines() or [""]
        print(*lines, sep="\n", end="\n" if lines else "", file=sys.stderr)
        if completed.returncode:
            command = shlex.join(["python", *arguments])
            raise InputError(last.removeprefix("Error: ") or f"{command} ended with exit code {completed.returncode}.")
        print(last, end="\n" if last else "", file=sys.stderr)
    return paths.trained_run(root, data, run)


def compare_histories(recorded: pd.DataFrame, now: pd.DataFrame) -> pd.DataFrame:
    """Return the changes of the metrics, now minus recorded, in the epochs that are not equal to the bit.

    A change is infinite where only one of the two histories has a value.

    Args:
        recorded: Index epoch, a column for each metric.
        now: History with the same columns.
    """
    old, new = recorded.align(now)
    changes = (new - old).mask(old.isna() != new.isna(), np.inf).fillna(0)
    return changes[changes.any(axis=1)]


def compare_with_record(
    changes: pd.DataFrame, same_model: bool, differences: list[str], tolerance: float, unknown: Sequence[str] = ()
) -> tuple[bool, str]:
    """Return whether a repeated training agrees with its record, and why.

    Args:
        changes: Changes of the metrics, see `compare_histories`.
        same_model: Whether model.h5 has the same bytes.
        differences: Differences of data, code, configuration and environment from the record.
        tolerance: Accepted absolute difference of the metrics; 0 requires the same bits, including the model's.
        unknown: Facts of `environment.describe` that are not in the record, for example because it is older.

    Returns:
        Whether the result is identical, or its metrics are within the tolerance; and the reasons in a few lines.
    """
    identical = same_model and changes.empty
    if identical:
        lines = ["Identical to the bit: every metric of every epoch, and model.h5."]
    elif changes.empty:
        lines = ["Every metric of every epoch is identical to the bit, model.h5 is not."]
    else:
        epoch, first = next(changes.iterrows())
        named = ", ".join(f"{name} by {value:+.3g}" for name, value in first.items() if value and np.isfinite(value))
        lines = [
            f"The first difference is in epoch {epoch}: {named or 'one of the two histories ends earlier'}.",
            f"Largest difference in any epoch: {changes.abs().max(axis=None):.3g}, tolerance {tolerance:g}.",
        ]
    if differences:
        lines += ["Differences from the record:", *(f"  {difference}" for difference in differences)]
    elif not identical:
        lines.append("Data, code, configuration and environment are those of the record.")
    if unknown and not identical:
        lines.append(f"Not recorded, so they may differ: {', '.join(unknown)}.")
    within = tolerance > 0 and bool((changes.abs() <= tolerance).all(axis=None))
    return identical or within, "\n".join(lines)
