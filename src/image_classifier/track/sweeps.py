"""Sweeps in MLflow: one run for each sweep, which is the parent of the runs of its trials."""

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

from matplotlib.figure import Figure
from mlflow.entities import Metric, Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE, MLFLOW_SOURCE_NAME

from image_classifier import paths
from image_classifier.errors import InputError
from image_classifier.provenance.fingerprint import TrainingInput
from image_classifier.provenance.result import RecordedRun
from image_classifier.track import payload
from image_classifier.track.outcome import Outcome, State
from image_classifier.track.payload import STATE_TAG
from image_classifier.track.reader import read_run
from image_classifier.track.store import FINISHED, INPUT_TAG, Store, is_complete

SWEEP_TAG = "sweep"
BEST_TAG = "sweep.best"
REASON_TAG = "trial.reason"
EPOCHS_TAG = "trial.epochs"
ACCURACY = "val_accuracy"
STATUSES = {"pruned": "KILLED", "failed": "FAILED", "crashed": "KILLED", "unfinished": "KILLED"}
FINAL_STATES = ("pruned", "failed")  # a crashed trial is tried again


class SweepRun:
    """The MLflow run of a sweep. A sweep that is repeated continues its run.

    Attributes:
        run_id: Id of the MLflow run; empty for a sweep that was never started.
    """

    def __init__(self, store: Store, fingerprint: str) -> None:
        """Find the run.

        Args:
            store: Store of the sweep and its trials.
            fingerprint: Fingerprint of the sweep.
        """
        self._store = store
        self._tags = {SWEEP_TAG: fingerprint}
        run = store.find_first(self._tags)
        self.run_id = str(run.info.run_id) if run else ""

    @contextmanager
    def tracked(self, name: str, command: str, params: dict[str, str]) -> Iterator[None]:
        """Create or continue the run; its status becomes FINISHED, FAILED or KILLED when the block ends.

        Args:
            name: Name of the run.
            command: Command line that starts the sweep.
            params: Description of the sweep.
        """
        store = self._store
        client = store.client
        status = "FAILED"
        with store.locked():
            run = store.find_first(self._tags) or client.create_run(store.experiment_id, tags=self._tags)
            self.run_id = str(run.info.run_id)
            client.update_run(self.run_id, status="RUNNING", name=name)
            store.log_params_and_tags(run, params, {MLFLOW_SOURCE_NAME: command})
        try:
            yield
            status = FINISHED
        except (SystemExit, KeyboardInterrupt):
            status = "KILLED"
            raise
        finally:
            with store.locked():
                store.terminate(self.run_id, status)
                if status == FINISHED:
                    store.make_current(self.run_id, name)

    def find_outcome(self, training: TrainingInput) -> Outcome | None:
        """Return the recorded outcome of a trial, or None if it has to be run.

        A trial is complete if any run with the same input is. Pruned and failed trials count only in their own sweep.
        """
        if complete := self._store.find_complete({INPUT_TAG: training.fingerprint}):
            in_this_sweep = complete.data.tags.get(MLFLOW_PARENT_RUN_ID) == self.run_id
            return Outcome("complete", self._accuracies(complete), origin="before" if in_this_sweep else "elsewhere")
        run = self._store.find_first(self._trial_tags(training))
        if run is None or run.data.tags.get(STATE_TAG) not in FINAL_STATES:
            return None
        tags = run.data.tags
        last = int(tags[EPOCHS_TAG])  # the process of the trial may have trained on for a moment
        accuracies = {epoch: value for epoch, value in self._accuracies(run).items() if epoch <= last}
        return Outcome(cast(State, tags[STATE_TAG]), accuracies, tags.get(REASON_TAG, ""), origin="before")

    def _accuracies(self, run: Run) -> dict[int, float]:
        with self._store.translate_errors():
            points = self._store.client.get_metric_history(run.info.run_id, ACCURACY)
        return {point.step: point.value for point in points}

    def _trial_tags(self, training: TrainingInput) -> dict[str, str]:
        return {MLFLOW_PARENT_RUN_ID: self.run_id, INPUT_TAG: training.fingerprint}

    def record_outcome(self, training: TrainingInput, outcome: Outcome) -> None:
        """Record the outcome of a trial that is not complete, and end its run. A complete run is left unchanged."""
        store = self._store
        client = store.client
        tags = self._trial_tags(training)
        with store.locked():
            run = store.find_first(tags) or client.create_run(store.experiment_id, tags=tags, run_name=training.run)
            if is_complete(run):
                return
            # Ray ends a trial together with its tracking process, which may not have logged the last epochs.
            now = int(time.time() * 1000)
            epochs = [Metric(ACCURACY, value, now, epoch) for epoch, value in outcome.accuracies.items()]
            store.log_missing(run.info.run_id, epochs)
            state = {STATE_TAG: outcome.state, REASON_TAG: outcome.reason, EPOCHS_TAG: str(outcome.epochs)}
            store.log_params_and_tags(run, payload.build_params(training, paths.dataset_report(training.data)), state)
            store.terminate(run.info.run_id, STATUSES[outcome.state])

    def finish(
        self, metrics: dict[str, float], note: str, table: str, figures: dict[str, Figure], best: TrainingInput | None
    ) -> None:
        """Write the results of the sweep.

        Args:
            metrics: Numbers that summarize the sweep.
            note: Description in Markdown.
            table: Table of all trials as CSV.
            figures: Figures by name.
            best: Input of the best trial, if the sweep chooses one.
        """
        client = self._store.client
        now = int(time.time() * 1000)
        with self._store.translate_errors():
            client.log_batch(self.run_id, [Metric(name, float(value), now, 0) for name, value in metrics.items()])
            client.set_tag(self.run_id, MLFLOW_RUN_NOTE, note)
            if best and (run := self._store.find_complete({INPUT_TAG: best.fingerprint})):
                client.set_tag(self.run_id, BEST_TAG, run.info.run_id)
            client.log_text(self.run_id, table, "trials.csv")
            for name, figure in figures.items():
                client.log_figure(self.run_id, figure, f"{name}.png")

    def attach_final_run(self, training: TrainingInput) -> dict[str, float]:
        """Make the run of the best trial's final training a child of this run, and return its test metrics.

        Raises:
            InputError: The store does not have the run.
        """
        client = self._store.client
        now = int(time.time() * 1000)
        run = self._store.find_complete({INPUT_TAG: training.fingerprint})
        if run is None:
            command = f"python -m pipelines.track run={training.run}"
            raise InputError(f"run={training.run} is not in MLflow. Record it: {command}")
        test_metrics = {name: value for name, value in run.data.metrics.items() if name.startswith("test_")}
        with self._store.translate_errors():
            client.set_tag(run.info.run_id, MLFLOW_PARENT_RUN_ID, self.run_id)
            client.log_batch(self.run_id, [Metric(name, value, now, 0) for name, value in test_metrics.items()])
        return test_metrics


def name_and_read_replicate(store: Store, training: TrainingInput, name: str) -> RecordedRun | None:
    """Name the run of a replicate, make it the current one, and return its record, or None if it is not complete."""
    run = store.find_complete({INPUT_TAG: training.fingerprint})
    if run is None:
        return None
    with store.locked():
        store.client.update_run(run.info.run_id, name=name)
        store.make_current(run.info.run_id, name)
    return read_run(store, run.info.run_id)


def median_images_per_second(store: Store, threads: int, processor: str) -> float | None:
    """Return the median speed of recent trainings, or None if there are none.

    Args:
        store: Store of the trainings.
        threads: Number of threads within one operation.
        processor: Processor as in `environment.describe`.
    """
    same_machine = f"params.intra_op_threads = '{threads}' and tags.`environment.processor` = '{processor}'"
    query = f"{same_machine} and metrics.images_per_second > 0"
    with store.translate_errors():
        runs = store.client.search_runs([store.experiment_id], query, max_results=20, order_by=["start_time DESC"])
    speeds = [run.data.metrics["images_per_second"] for run in runs]
    return statistics.median(speeds) if speeds else None


def find_best_trial(stores: Sequence[Store], fingerprint: str) -> RecordedRun:
    """Return the record of the best trial of a sweep.

    Args:
        stores: Stores of all experiments.
        fingerprint: Fingerprint of the sweep.

    Raises:
        InputError: No store has the sweep, or the sweep has no best trial.
    """
    known: list[Run] = []
    for store in stores:
        if sweep := store.find_first({SWEEP_TAG: fingerprint}):
            if BEST_TAG not in sweep.data.tags:
                remedy = "Repeat its command to finish it; replicates have none."
                raise InputError(f"Sweep {fingerprint} has no best trial. {remedy}")
            return read_run(store, sweep.data.tags[BEST_TAG])
        with store.translate_errors():
            known += store.client.search_runs([store.experiment_id], f"tags.{SWEEP_TAG} LIKE '%'")
    names = ", ".join(sorted(run.data.tags[SWEEP_TAG] for run in known)) or "none"
    raise InputError(f"Sweep {fingerprint} is not in MLflow. Known sweeps: {names}.")
