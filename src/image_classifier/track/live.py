"""The MLflow run of a training that is still running."""

import time
from typing import Any

import numpy as np
from mlflow.entities import Run
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from image_classifier import paths
from image_classifier.provenance.run_metadata import RunMetadata
from image_classifier.track import payload
from image_classifier.track.payload import STATE_TAG
from image_classifier.track.store import INPUT_TAG, RESULT_TAG, Store
from image_classifier.track.writer import belongs_to, create_run, write_input


class LiveRun:
    """The MLflow run of a training that is still running. A training that resumes continues its run.

    Attributes:
        recorded: Ids of the runs with a result of the same input. If there are any, this training is not logged.
    """

    def __init__(self, store: Store, metadata: RunMetadata) -> None:
        """Find or create the run, and start to log the system metrics.

        Args:
            store: Store of the run.
            metadata: Metadata of the training that starts.
        """
        self._store, self._metadata = store, metadata
        self._epochs: dict[int, dict[str, float]] = {}
        self._run_id: str | None = None
        with store.locked():
            same_input = store.find({INPUT_TAG: metadata.input.fingerprint})
            self.recorded = [run.info.run_id for run in same_input if RESULT_TAG in run.data.tags]
            if self.recorded:
                return
            unfinished = [run for run in same_input if belongs_to(run, metadata)]
            self._run_id = self._start(unfinished[-1] if unfinished else None)
        monitor: Any = SystemMetricsMonitor  # MLflow has no types for it
        self._monitor = monitor(self._run_id, resume_logging=True, tracking_uri=store.uri)
        self._monitor.start()

    def _start(self, run: Run | None) -> str:
        store, metadata = self._store, self._metadata
        tags = payload.input_tags(metadata.input, metadata.revision, metadata)
        run = run or create_run(store, metadata.input, metadata, tags)
        write_input(store, run, metadata.input, tags, paths.DATASET_REPORT)
        store.client.update_run(run.info.run_id, status="RUNNING")
        if STATE_TAG in run.data.tags:  # a crashed trial is tried again
            store.client.delete_tag(run.info.run_id, STATE_TAG)
        return str(run.info.run_id)

    def log_epoch(self, epoch: int, values: dict[str, float]) -> None:
        """Log an epoch that the run does not have yet.

        Args:
            epoch: Number of the epoch, from 1.
            values: Row of the history, with `seconds`.
        """
        self._epochs[epoch] = values
        if self._run_id is None:
            return
        with self._store.translate_errors():
            logged = self._store.client.get_metric_history(self._run_id, "loss")
            repeated = [point for point in logged if point.step in self._epochs]
            losses = [self._epochs[point.step]["loss"] for point in repeated]
            if not np.array_equal([point.value for point in repeated], losses, equal_nan=True):
                self.end("KILLED")  # the interrupted training ran on another kind of machine: its metrics differ
                self._run_id = self._start(None)
        now, images = int(time.time() * 1000), self._metadata.training_images
        metrics = [payload.epoch_metrics(number, row, now, images) for number, row in self._epochs.items()]
        self._store.log_missing(self._run_id, [metric for of_epoch in metrics for metric in of_epoch])

    def end(self, status: str | None = None) -> None:
        """Stop logging.

        Args:
            status: Final status of the run. None keeps the run open for its result; the status of a trial that its
                sweep has stopped is kept as well.
        """
        if self._run_id is None:
            return
        self._monitor.finish()
        with self._store.translate_errors():
            if status and STATE_TAG not in self._store.client.get_run(self._run_id).data.tags:
                self._store.client.set_terminated(self._run_id, status)
