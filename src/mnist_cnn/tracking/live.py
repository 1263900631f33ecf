"""The record of a training while it runs."""

import time
from typing import Any

import numpy as np
import yaml
from mlflow.entities import Run
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from mnist_cnn import paths
from mnist_cnn.results import Execution
from mnist_cnn.tracking import contents
from mnist_cnn.tracking.contents import INPUT_TAG, RESULT_TAG, STATE_TAG
from mnist_cnn.tracking.store import Store


class LiveRun:
    """The unfinished MLflow run of a training: one that was cut off goes on."""

    def __init__(self, store: Store, execution: Execution) -> None:
        """Find or create the run. If MLflow has a result of this very input, there is nothing to follow.

        Raises:
            InputError: the store cannot be reached or written.
        """
        self._store, self._training, self._images = store, execution.input, execution.training_images
        self._tags = contents.input_tags(execution.input, execution.revision, execution)
        self._start = int(execution.started * 1000)
        self._epochs: dict[int, dict[str, float]] = {}
        with store.explained(), store.locked():
            same = store.find(INPUT_TAG, execution.input.identity)
            self.recorded = [run.info.run_id for run in same if RESULT_TAG in run.data.tags]
            cut_off = [run for run in same if contents.can_continue(run, execution)]
            self._run_id = None if self.recorded else self._begin(cut_off[-1] if cut_off else None)
        if self._run_id:
            monitor: Any = SystemMetricsMonitor  # MLflow leaves it untyped
            self._monitor = monitor(self._run_id, resume_logging=True, tracking_uri=store.uri)
            self._monitor.start()

    def epoch(self, epoch: int, values: dict[str, float]) -> None:
        """Record an epoch that the run does not have yet.

        Raises:
            InputError: the store cannot be reached or written.
        """
        self._epochs[epoch] = values
        if self._run_id is None:
            return
        with self._store.explained():
            logged = self._store.client.get_metric_history(self._run_id, "loss")
            seen = [point for point in logged if point.step in self._epochs]
            losses = [self._epochs[point.step]["loss"] for point in seen]
            if not np.array_equal([point.value for point in seen], losses, equal_nan=True):
                self.end("KILLED")  # it was cut off on another kind of machine: these are not its numbers
                self._run_id = self._begin(None)
                logged = []
            now = int(time.time() * 1000)
            for missing in sorted(self._epochs.keys() - {point.step for point in logged}):
                metrics = contents.epoch_metrics(missing, self._epochs[missing], now, self._images)
                self._store.client.log_batch(self._run_id, metrics)

    def end(self, status: str | None = None) -> None:
        """Stop following; without a status the run stays open for its results, and that of an ended trial stays."""
        if self._run_id is None:
            return
        self._monitor.finish()
        with self._store.explained():
            if status and STATE_TAG not in self._store.client.get_run(self._run_id).data.tags:
                self._store.client.set_terminated(self._run_id, status)

    def _begin(self, run: Run | None) -> str:
        client = self._store.client
        run_id = (
            run.info.run_id
            if run
            else client.create_run(
                self._store.experiment_id,
                start_time=self._start,
                tags={INPUT_TAG: self._training.identity},
                run_name=self._training.run,
            ).info.run_id
        )
        client.update_run(run_id, status="RUNNING")
        if run and STATE_TAG in run.data.tags:
            client.delete_tag(run_id, STATE_TAG)  # it died, and is tried again
        client.log_batch(run_id, [], contents.params(self._training), self._tags)
        if not (run and run.inputs and run.inputs.dataset_inputs):
            description = yaml.safe_load(paths.DATASET_REPORT.read_text())
            client.log_inputs(run_id, [contents.dataset(self._training, description)])
        return str(run_id)
