"""The training of one trial in a process of its own, on this machine or on a node of a cluster."""

import math
import subprocess
import sys
from functools import partial
from typing import Any

import ray
from filelock import FileLock
from ray import tune

from image_classifier import paths
from image_classifier.config.schema import Train
from image_classifier.errors import BusyError, InputError
from image_classifier.provenance.fingerprint import training_files
from image_classifier.provenance.revision import Revision
from image_classifier.sweep.engine import ACCURACY, EPOCH, NODE, REASON, STATE
from image_classifier.track.process import TrackingProcess
from image_classifier.train.runner import train_run


def train_trial(job: dict[str, Any], files: dict[str, str], revision: Revision, parent: str) -> None:
    """Train a trial and report each epoch to Ray; report the last one when the result is written and recorded.

    Args:
        job: Configuration and command line of the trial, from `TrialSearcher.suggest`.
        files: Hashes of the data and code that the sweep started with.
        revision: Git revision of the code.
        parent: MLflow run of the sweep.
    """
    config = Train.model_validate(job["config"])
    accuracies: dict[int, float] = {}

    def report_epoch(epoch: int, values: dict[str, float]) -> None:
        accuracies[epoch] = values["val_accuracy"]
        if epoch < config.epochs:
            _report(epoch, accuracies[epoch])

    state, reason = "crashed", ""
    try:
        _make_data(config.data.name)
        if training_files(config.data.name) != files:
            raise InputError("the data or code of this node differs from the data or code that the sweep started with")
        state = "failed"  # from here on, an InputError comes from the training itself and would recur
        train_run(
            config,
            job["command"],
            paths.adhoc_run(config.run),
            partial(TrackingProcess, records_result=True),
            verbose=0,
            revision=revision,
            parent=parent,
            on_epoch=report_epoch,
        )
        state = "complete"
    except InputError as error:
        state, reason = ("crashed" if isinstance(error, BusyError) else state), str(error)
    except Exception as error:  # ends this trial, but not the sweep
        state, reason = "crashed", f"{type(error).__name__}: {error}"
    _report(config.epochs, accuracies.get(config.epochs, math.nan), {STATE: state, REASON: reason})


def _report(epoch: int, accuracy: float, last: dict[str, str] | None = None) -> None:
    node = ray.get_runtime_context().get_node_id()
    tune.report({EPOCH: epoch, ACCURACY: accuracy, NODE: node, **(last or {})})


def _make_data(data: str) -> None:
    """Fetch and prepare a data set on a node that does not have it."""
    folder = paths.prepared_data(data)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if folder.exists():
            return
        for stage in ("fetch", "prepare"):
            command = [sys.executable, "-m", f"pipelines.{stage}", f"data={data}"]
            completed = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=False)
            if completed.returncode:
                raise InputError(f"{stage}: {completed.stderr.strip()}")
