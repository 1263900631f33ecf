"""The MLflow run of a training while it runs."""

import time
from dataclasses import replace

import numpy as np
import pytest
from tracking_helpers import epochs_of, logged, runs_of

from image_classifier.provenance.result import Result
from image_classifier.provenance.run_metadata import RunMetadata
from image_classifier.track.live import LiveRun
from image_classifier.track.store import INPUT_TAG, Store
from image_classifier.track.writer import record_result


def test_epochs_are_logged_while_a_training_runs(any_store: Store, result: Result, metadata: RunMetadata) -> None:
    live = LiveRun(any_store, metadata)
    live.log_epoch(1, epochs_of(result)[1])
    (run,) = runs_of(any_store, result)
    assert run.info.status == "RUNNING"
    assert logged(any_store, run.info.run_id) == [(1, 0.6)]
    assert dict(logged(any_store, run.info.run_id, "images_per_second")) == pytest.approx({1: 60 / 30.5})
    assert run.data.params["learning_rate"] == "0.01"
    live.end()


def test_a_killed_training_that_starts_again_continues_its_run(
    store: Store, result: Result, metadata: RunMetadata
) -> None:
    first = LiveRun(store, metadata)
    first.log_epoch(1, epochs_of(result)[1])
    first.end("KILLED")
    (killed,) = runs_of(store, result)
    assert killed.info.status == "KILLED"
    second = LiveRun(store, metadata)
    for epoch, values in epochs_of(result).items():
        second.log_epoch(epoch, values)
    second.end()
    (run,) = runs_of(store, result)
    assert (run.info.run_id, run.info.status) == (killed.info.run_id, "RUNNING")
    assert logged(store, run.info.run_id) == [(1, 0.6), (2, 0.3)]
    assert run.inputs
    assert len(run.inputs.dataset_inputs) == 1


def test_a_training_that_starts_again_with_other_metrics_is_another_run(
    store: Store, adhoc_result: Result, metadata: RunMetadata
) -> None:
    first = LiveRun(store, metadata)
    first.log_epoch(1, {**epochs_of(adhoc_result)[1], "loss": 0.61})
    first.end("KILLED")
    second = LiveRun(store, metadata)
    for epoch, values in epochs_of(adhoc_result).items():
        second.log_epoch(epoch, values)
    second.end()
    run_id = record_result(store, adhoc_result)
    assert logged(store, run_id) == [(1, 0.6), (2, 0.3)]
    assert {run.info.status for run in runs_of(store, adhoc_result)} == {"KILLED", "FINISHED"}


def test_a_training_that_diverges_twice_is_one_run(store: Store, result: Result, metadata: RunMetadata) -> None:
    for _ in range(2):
        live = LiveRun(store, metadata)
        live.log_epoch(1, {**epochs_of(result)[1], "loss": np.nan})
        live.end("FAILED")
    (run,) = runs_of(store, result)
    assert run.info.status == "FAILED"


def test_an_input_whose_result_is_recorded_is_not_logged(
    store: Store, adhoc_result: Result, metadata: RunMetadata
) -> None:
    run_id = record_result(store, adhoc_result)
    live = LiveRun(store, metadata)
    assert live.runs_with_result == [run_id]
    live.log_epoch(1, {**epochs_of(adhoc_result)[1], "loss": 9.0})
    live.end("FAILED")
    (run,) = runs_of(store, adhoc_result)
    assert run.info.status == "FINISHED"
    assert logged(store, run_id) == [(1, 0.6), (2, 0.3)]


def test_a_training_outside_of_a_sweep_does_not_continue_the_run_of_a_trial(
    store: Store, result: Result, metadata: RunMetadata
) -> None:
    for parent in ("a sweep", None):
        LiveRun(store, replace(metadata, parent=parent)).end("KILLED")
    assert {run.data.tags.get("mlflow.parentRunId") for run in runs_of(store, result)} == {"a sweep", None}


def test_a_run_does_not_end_before_its_start_when_the_clock_was_set_back(store: Store, metadata: RunMetadata) -> None:
    run = LiveRun(store, replace(metadata, started=time.time() + 3600))
    run.end("KILLED")
    (killed,) = store.find({INPUT_TAG: metadata.input.fingerprint})
    assert killed.info.end_time == killed.info.start_time
