"""What the process of a trial does, on this machine or on another node of a cluster."""

import math
import shutil
import subprocess
import sys
from typing import Any

import ray
from filelock import FileLock
from ray import tune

from mnist_cnn import paths, results, schema
from mnist_cnn.errors import BusyError, InputError
from mnist_cnn.results import Revision
from mnist_cnn.sweep.engine import ACCURACY, DIED, EPOCH, FAILED, NODE


def main(order: dict[str, Any]) -> None:
    """Train a trial and report each epoch; the last one when everything is written and recorded.

    Args:
        order: from `pipelines.sweep`.
    """
    try:
        _fetch_data()
        if results.training_files() != order["files"]:
            raise InputError("this node has other data or code than the sweep began with")
        config = schema.Train.model_validate(order["config"])
        if not _recorded_now(config):
            _train(config, order)
    except Exception as error:  # whatever a trial dies of is its outcome, not that of the sweep
        reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        _report(order["config"]["epochs"], math.nan, {DIED: reason})


def _report(epoch: int, accuracy: float, more: dict[str, str] | None = None) -> None:
    tune.report({EPOCH: epoch, ACCURACY: accuracy, NODE: ray.get_runtime_context().get_node_id(), **(more or {})})


def _fetch_data() -> None:
    """Make the prepared data where a node has none."""
    paths.PREPARED_DATA.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(paths.PREPARED_DATA.with_suffix(".lock")):
        if not paths.PREPARED_DATA.exists():
            for stage in ("fetch", "prepare"):
                command = [sys.executable, "-m", f"pipelines.{stage}"]
                made = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=False)
                if made.returncode:
                    raise InputError(f"{stage}: {made.stderr.strip()}")


def _recorded_now(config: schema.Train) -> bool:
    """Record a trial that was finished when something ended, before MLflow had it."""
    files = paths.adhoc_run(config.run)
    if not files.model.exists():
        return False

    from mnist_cnn.tracking.contents import history
    from mnist_cnn.tracking.record import record
    from mnist_cnn.tracking.store import Store

    try:
        result = results.read(config.run)
    except InputError:  # it was being written
        shutil.rmtree(files.directory)
        return False
    record(Store(config.tracking.experiment), result)
    paths.checkpoint(config.run).unlink(missing_ok=True)
    _report(config.epochs, history(result)["val_accuracy"].iloc[-1])
    return True


def _train(config: schema.Train, order: dict[str, Any]) -> None:
    from pipelines.train import train_run

    accuracies = {}

    def report(epoch: int, values: dict[str, float]) -> None:
        accuracies[epoch] = values["val_accuracy"]
        if epoch < config.epochs:
            _report(epoch, accuracies[epoch])

    try:
        train_run(
            config,
            order["command"],
            paths.adhoc_run(config.run),
            by_hand=True,
            verbose=0,
            revision=Revision(**order["revision"]),
            parent=order["parent"],
            on_epoch=report,
        )
    except BusyError:
        raise
    except InputError as error:  # it would fail again
        _report(config.epochs, math.nan, {FAILED: str(error)})
    else:
        _report(config.epochs, accuracies[config.epochs])
