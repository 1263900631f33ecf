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
from image_classifier.track.store import INPUT_TAG, RESULT_TAG, SUPERSEDED_TAG, Store
from image_classifier.track.writer import can_receive_result, write_input


class LiveRun:
    """The MLflow run of a training that is still running. A training that resumes continues its run.

    Attributes:
        runs_with_result: Ids of the runs with a result of the same input. If there are any, this training is not
            logged.
    """

    def __init__(self, store: Store, metadata: RunMetadata) -> None:
        """Find or create the run, and start to log the system metrics.

        Args:
            store: Store of the run.
            metadata: Metadata of the training that starts.
        """
        self._store = store
        self._metadata = metadata
        self._epochs: dict[int, dict[str, float]] = {}
        with store.locked():
            same_input = store.find({INPUT_TAG: metadata.input.fingerprint})
            self.runs_with_result = [run.info.run_id for run in same_input if RESULT_TAG in run.data.tags]
            if not self.runs_with_result:
                self._start(next((run for run in reversed(same_input) if can_receive_result(run, metadata)), None))

    def _start(self, run: Run | None) -> None:
        store, metadata = self._store, self._metadata
        client = store.client
        tags = payload.input_tags(metadata.input, metadata.revision, metadata)
        run = write_input(store, run, metadata.input, metadata, tags, paths.dataset_report(metadata.input.data))
        self._run_id = str(run.info.run_id)
        self._losses = {point.step: point.value for point in client.get_metric_history(self._run_id, "loss")}
        client.update_run(self._run_id, status="RUNNING")
        for tag in {STATE_TAG, SUPERSEDED_TAG} & run.data.tags.keys():  # a crashed or interrupted training goes on
            client.delete_tag(self._run_id, tag)
        monitor: Any = SystemMetricsMonitor  # MLflow has no types for it
        self._monitor = monitor(self._run_id, resume_logging=True, tracking_uri=store.uri)
        self._monitor.start()

    def log_epoch(self, epoch: int, values: dict[str, float]) -> None:
        """Log an epoch that the run does not have yet.

        Args:
            epoch: Number of the epoch, from 1.
            values: Row of the history, with `seconds`.
        """
        if self.runs_with_result:
            return
        self._epochs[epoch] = values
        new = {epoch: values}
        with self._store.translate_errors():
            if not np.array_equal(self._losses.get(epoch, values["loss"]), values["loss"], equal_nan=True):
                self.end("KILLED")  # the interrupted training ran on another kind of machine: its metrics differ
                self._start(None)
                new = self._epochs
        now = int(time.time() * 1000)
        metrics = []
        for number, row in new.items():
            metrics += payload.epoch_metrics(number, row, now, self._metadata.training_images)
        self._store.log_missing(self._run_id, metrics)

    def end(self, status: str | None = None) -> None:
        """Stop logging.

        Args:
            status: Final status of the run. None keeps the run open for its result; the status of a trial that its
                sweep has stopped is kept as well.
        """
        if self.runs_with_result:
            return
        self._monitor.finish()
        with self._store.translate_errors():
            if status and STATE_TAG not in self._store.client.get_run(self._run_id).data.tags:
                self._store.terminate(self._run_id, status)
