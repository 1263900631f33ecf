"""The record of sweeps: one MLflow run for each, above the runs of its trials."""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import pandas as pd
import yaml
from matplotlib.figure import Figure
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE, MLFLOW_SOURCE_NAME
from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH, MAX_TAG_VAL_LENGTH

from mnist_cnn.errors import InputError
from mnist_cnn.results import TrainingInput
from mnist_cnn.sweep.trials import Outcome, State
from mnist_cnn.tracking import contents
from mnist_cnn.tracking.contents import INPUT_TAG, STATE_TAG
from mnist_cnn.tracking.record import FINISHED, is_complete
from mnist_cnn.tracking.store import Store

SWEEP_TAG, BEST_TAG = "sweep", "sweep.best"
ACCURACY = "val_accuracy"
REASON_TAG, EPOCHS_TAG = "trial.reason", "trial.epochs"
FINAL = ("pruned", "failed")  # a trial whose process died is tried again
STATUSES = {"pruned": "KILLED", "failed": "FAILED", "died": "KILLED"}


class SweepRun:
    """The MLflow run of a sweep: the same sweep goes on in the same run.

    Attributes:
        run_id: of it.
    """

    def __init__(self, store: Store, identity: str, command: str, params: dict[str, str]) -> None:
        """Find or create it.

        Args:
            store: that it is in.
            identity: of the sweep.
            command: the command line that starts it.
            params: what describes it.

        Raises:
            InputError: the store cannot be reached or written.
        """
        self._store, client = store, store.client
        with store.explained(), store.locked():
            run = find_sweep(store, identity) or client.create_run(
                store.experiment_id, tags={SWEEP_TAG: identity}, run_name=f"sweep_{identity}"
            )
            self.run_id = str(run.info.run_id)
            client.update_run(self.run_id, status="RUNNING")
            described = [Param(name, value[:MAX_PARAM_VAL_LENGTH]) for name, value in params.items()]
            client.log_batch(self.run_id, params=described, tags=[RunTag(MLFLOW_SOURCE_NAME, command)])

    def conclude(self, training: TrainingInput, outcome: Outcome) -> None:
        """Say of a trial that is not complete what it is, and why; one that was completed after all stays so.

        Raises:
            InputError: the store cannot be reached or written.
        """
        client = self._store.client
        with self._store.explained(), self._store.locked():
            tags = {MLFLOW_PARENT_RUN_ID: self.run_id, INPUT_TAG: training.identity}
            run = _child(self._store, self.run_id, training.identity) or client.create_run(
                self._store.experiment_id, tags=tags, run_name=training.run
            )
            if is_complete(run):
                return
            # Ray ends a trial's process with all that it started: the last epochs may be missing.
            known = {point.step for point in client.get_metric_history(run.info.run_id, ACCURACY)}
            now = int(time.time() * 1000)
            epochs = {epoch: value for epoch, value in outcome.accuracies.items() if epoch not in known}
            missing = [Metric(ACCURACY, value, now, epoch) for epoch, value in epochs.items()]
            state = [
                RunTag(STATE_TAG, outcome.state),
                RunTag(REASON_TAG, outcome.reason[:MAX_TAG_VAL_LENGTH]),
                RunTag(EPOCHS_TAG, str(max(outcome.accuracies, default=0))),
            ]
            client.log_batch(run.info.run_id, missing, contents.params(training), state)
            client.set_terminated(run.info.run_id, STATUSES[outcome.state])

    def leave(self, training: TrainingInput) -> None:
        """Say of a trial that was running when the sweep ended that it was; the sweep may go on with it.

        Raises:
            InputError: the store cannot be reached or written.
        """
        with self._store.explained():
            run = _child(self._store, self.run_id, training.identity)
            if run and not is_complete(run):
                self._store.client.set_tag(run.info.run_id, REASON_TAG, "interrupted")
                self._store.client.set_terminated(run.info.run_id, "KILLED")

    def finish(
        self,
        metrics: dict[str, float],
        note: str,
        table: str,
        figures: dict[str, Figure],
        best: TrainingInput | None = None,
    ) -> None:
        """Write what came of the sweep.

        Args:
            metrics: numbers of the sweep.
            note: its description, in Markdown.
            table: of all trials, as CSV.
            figures: by name.
            best: the winner, if there is one.

        Raises:
            InputError: the store cannot be reached or written.
        """
        client, now = self._store.client, int(time.time() * 1000)
        with self._store.explained():
            client.log_batch(self.run_id, [Metric(name, float(value), now, 0) for name, value in metrics.items()])
            client.set_tag(self.run_id, MLFLOW_RUN_NOTE, note)
            for run in self._store.find(INPUT_TAG, best.identity) if best else []:
                if is_complete(run):
                    client.set_tag(self.run_id, BEST_TAG, run.info.run_id)
            client.log_text(self.run_id, table, "trials.csv")
            for name, figure in figures.items():
                client.log_figure(self.run_id, figure, f"{name}.png")

    def end(self, status: str = FINISHED) -> None:
        """Close the run.

        Raises:
            InputError: the store cannot be reached or written.
        """
        with self._store.explained():
            self._store.client.set_terminated(self.run_id, status)

    def adopt_final(self, training: TrainingInput) -> dict[str, float]:
        """Make the run of a training a child of this one, and return its test metrics.

        Raises:
            InputError: the store cannot be reached or written, or has no such run.
        """
        client, now = self._store.client, int(time.time() * 1000)
        with self._store.explained():
            complete = [run for run in self._store.find(INPUT_TAG, training.identity) if is_complete(run)]
            if not complete:
                raise InputError(
                    f"run={training.run} is not in MLflow. Record it: python -m pipelines.track run={training.run}"
                )
            run = complete[0]
            client.set_tag(run.info.run_id, MLFLOW_PARENT_RUN_ID, self.run_id)
            tested = {name: value for name, value in run.data.metrics.items() if name.startswith("test_")}
            client.log_batch(self.run_id, [Metric(name, value, now, 0) for name, value in tested.items()])
        return tested


def find_sweep(store: Store, identity: str) -> Run | None:
    """Find the run of a sweep.

    Raises:
        InputError: the store cannot be reached.
    """
    with store.explained():
        return next(iter(store.find(SWEEP_TAG, identity)), None)


def outcome(store: Store, training: TrainingInput, sweep: str | None) -> Outcome | None:
    """Find what came of a trial.

    Args:
        store: that may have it.
        training: of the trial. It is complete if any run with the same input is.
        sweep: the run of the sweep, if there is one yet: whether a trial is pruned or failed is a matter of one sweep.

    Raises:
        InputError: the store cannot be reached.
    """
    with store.explained():
        complete = [run for run in store.find(INPUT_TAG, training.identity) if is_complete(run)]
        if complete:
            here = sweep is not None and complete[0].data.tags.get(MLFLOW_PARENT_RUN_ID) == sweep
            return Outcome("complete", _accuracies(store, complete[0]), origin="before" if here else "elsewhere")
        run = _child(store, sweep, training.identity) if sweep else None
        state = run.data.tags.get(STATE_TAG) if run else None
        if run and state in FINAL:
            last = int(run.data.tags[EPOCHS_TAG])  # its process may have gone on for a moment
            accuracies = {epoch: value for epoch, value in _accuracies(store, run).items() if epoch <= last}
            return Outcome(cast(State, state), accuracies, run.data.tags.get(REASON_TAG, ""), origin="before")
        return None


def history(store: Store, training: TrainingInput) -> pd.DataFrame | None:
    """Return the history of a training: columns loss, accuracy, val_loss, val_accuracy; index epoch; none without it.

    Raises:
        InputError: the store cannot be reached.
    """
    with store.explained(), TemporaryDirectory() as folder:
        for run in store.find(INPUT_TAG, training.identity):
            if is_complete(run):
                file = store.client.download_artifacts(run.info.run_id, "history.csv", folder)
                return pd.read_csv(file, index_col="epoch")
    return None


def images_per_second(store: Store, threads: int, processor: str) -> float | None:
    """Return the typical speed of recent trainings with so many threads on such a processor; none if there are none.

    Raises:
        InputError: the store cannot be reached.
    """
    with store.explained():
        machine = f"params.threads = '{threads}' and tags.`environment.processor` = '{processor}'"
        alike = f"{machine} and metrics.images_per_second > 0"
        recent = store.client.search_runs([store.experiment_id], alike, max_results=20, order_by=["start_time DESC"])
    speeds = [run.data.metrics["images_per_second"] for run in recent]
    return statistics.median(speeds) if speeds else None


@dataclass(frozen=True)
class Winner:
    """The best trial of a sweep.

    Attributes:
        configuration: complete.
        accuracy: on the held-out images, after the last epoch.
    """

    configuration: dict[str, Any]
    accuracy: float


def winner(store: Store, identity: str) -> Winner:
    """Return the best trial of a sweep.

    Raises:
        InputError: the store cannot be reached, has no such sweep, or the sweep has no complete trial.
    """
    with store.explained():
        sweep = find_sweep(store, identity)
        if sweep is None:
            known = store.client.search_runs([store.experiment_id], f"tags.{SWEEP_TAG} LIKE '%'")
            names = ", ".join(sorted(run.data.tags[SWEEP_TAG] for run in known)) or "none"
            raise InputError(f"sweep={identity} is not in MLflow. There are: {names}.")
        if BEST_TAG not in sweep.data.tags:
            raise InputError(f"sweep={identity} has no winner: it is not finished, or its trials are replicates.")
        with TemporaryDirectory() as folder:
            file = store.client.download_artifacts(sweep.data.tags[BEST_TAG], "config.yaml", folder)
            return Winner(yaml.safe_load(Path(file).read_text()), sweep.data.metrics["best_val_accuracy"])


def _child(store: Store, sweep: str, identity: str) -> Run | None:
    runs = store.find(INPUT_TAG, identity)
    return next((run for run in runs if run.data.tags.get(MLFLOW_PARENT_RUN_ID) == sweep), None)


def _accuracies(store: Store, run: Run) -> dict[int, float]:
    points = store.client.get_metric_history(run.info.run_id, ACCURACY)
    return {point.step: point.value for point in sorted(points, key=lambda point: point.step)}
