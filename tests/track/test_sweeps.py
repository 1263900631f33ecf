"""Sweeps in MLflow: the run of a sweep, and the outcomes of its trials."""

from contextlib import suppress
from dataclasses import replace

import pandas as pd
import pytest
from matplotlib.figure import Figure
from tracking_helpers import epochs_of, logged, runs_of, superseded_runs

from image_classifier.errors import InputError
from image_classifier.provenance.result import Result
from image_classifier.provenance.run_metadata import RunMetadata
from image_classifier.track.live import LiveRun
from image_classifier.track.outcome import Outcome
from image_classifier.track.store import Store
from image_classifier.track.sweeps import SweepRun, find_best_trial, median_images_per_second, name_and_read_replicate
from image_classifier.track.writer import record_result

COMMAND = "python -m pipelines.train -m"
PRUNED = Outcome("pruned", {1: 0.91}, "others were better")


def start_sweep(store: Store, fingerprint: str = "0123456789", params: dict[str, str] | None = None) -> SweepRun:
    """Return a sweep that was started and ended."""
    sweep = SweepRun(store, fingerprint)
    with sweep.tracked("a sweep", COMMAND, params or {"search": "tpe"}):
        pass
    return sweep


@pytest.fixture
def sweep(store: Store) -> SweepRun:
    return start_sweep(store)


@pytest.fixture
def trial(adhoc_result: Result, sweep: SweepRun) -> Result:
    """A finished trial of the sweep."""
    assert adhoc_result.metadata
    return replace(adhoc_result, metadata=replace(adhoc_result.metadata, parent=sweep.run_id))


def test_a_repeated_sweep_continues_its_run(store: Store, sweep: SweepRun) -> None:
    again = SweepRun(store, "0123456789")
    assert again.run_id == sweep.run_id
    with again.tracked("a sweep", COMMAND, {"search": "tpe"}):
        assert again.run_id == sweep.run_id
        assert store.client.get_run(sweep.run_id).info.status == "RUNNING"
    assert store.client.get_run(sweep.run_id).info.status == "FINISHED"


@pytest.mark.parametrize(
    ("error", "status"), [(InputError("too many failures"), "FAILED"), (SystemExit(130), "KILLED")]
)
def test_the_end_of_a_sweep_decides_its_status(store: Store, error: BaseException, status: str) -> None:
    sweep = SweepRun(store, "0123456789")
    with suppress(type(error)), sweep.tracked("a sweep", COMMAND, {}):
        raise error
    assert store.client.get_run(sweep.run_id).info.status == status


def test_a_finished_trial_is_complete_in_its_sweep_and_elsewhere(any_store: Store, adhoc_result: Result) -> None:
    sweep = start_sweep(any_store)
    assert adhoc_result.metadata
    trial = replace(adhoc_result, metadata=replace(adhoc_result.metadata, parent=sweep.run_id))
    run = any_store.client.get_run(record_result(any_store, trial))
    assert run.data.tags["mlflow.parentRunId"] == sweep.run_id
    outcome = sweep.find_outcome(trial.input)
    assert outcome == Outcome("complete", {1: 0.91, 2: 0.94}, origin="before")
    assert SweepRun(any_store, "9876543210").find_outcome(trial.input) == replace(outcome, origin="elsewhere")


def test_a_pruned_trial_counts_in_its_own_sweep_only(
    store: Store, sweep: SweepRun, trial: Result, metadata: RunMetadata
) -> None:
    live = LiveRun(store, replace(metadata, parent=sweep.run_id))
    live.log_epoch(1, epochs_of(trial)[1])
    sweep.record_outcome(trial.input, PRUNED)
    live.end("KILLED")
    (run,) = runs_of(store, trial)
    assert (run.info.status, run.data.tags["trial.state"]) == ("KILLED", "pruned")
    assert run.data.tags["trial.reason"] == "others were better"
    assert sweep.find_outcome(trial.input) == replace(PRUNED, origin="before")
    assert SweepRun(store, "9876543210").find_outcome(trial.input) is None


def test_the_last_epochs_of_a_pruned_trial_are_added(
    store: Store, sweep: SweepRun, trial: Result, metadata: RunMetadata
) -> None:
    LiveRun(store, replace(metadata, parent=sweep.run_id)).end()
    sweep.record_outcome(trial.input, PRUNED)
    (run,) = runs_of(store, trial)
    assert logged(store, run.info.run_id, "val_accuracy") == [(1, 0.91)]


def test_epochs_after_the_end_of_a_pruned_trial_do_not_count(
    store: Store, sweep: SweepRun, trial: Result, metadata: RunMetadata
) -> None:
    live = LiveRun(store, replace(metadata, parent=sweep.run_id))
    for epoch, values in epochs_of(trial).items():
        live.log_epoch(epoch, values)
    sweep.record_outcome(trial.input, PRUNED)
    live.end("FAILED")
    assert sweep.find_outcome(trial.input) == replace(PRUNED, origin="before")
    assert runs_of(store, trial)[0].info.status == "KILLED"


def test_a_trial_that_another_sweep_pruned_has_a_run_in_each_sweep(
    store: Store, sweep: SweepRun, trial: Result
) -> None:
    other = start_sweep(store, "9876543210")
    other.record_outcome(trial.input, PRUNED)
    record_result(store, trial)
    statuses = {run.data.tags["mlflow.parentRunId"]: run.info.status for run in runs_of(store, trial)}
    assert statuses == {other.run_id: "KILLED", sweep.run_id: "FINISHED"}


def test_a_trial_that_failed_before_its_first_epoch_has_a_run_with_the_reason(
    any_store: Store, adhoc_result: Result
) -> None:
    sweep = start_sweep(any_store, params={"optimizer.learning_rate": "long" * 10_000})
    sweep.record_outcome(adhoc_result.input, Outcome("failed", reason="diverged" * 10_000))
    (run,) = runs_of(any_store, adhoc_result)
    assert run.info.status == "FAILED"
    assert run.data.tags["trial.reason"].startswith("diverged")
    assert run.data.params["optimizer"] == "SGD"


def test_a_complete_trial_stays_complete(store: Store, sweep: SweepRun, trial: Result) -> None:
    record_result(store, trial)
    sweep.record_outcome(trial.input, PRUNED)
    outcome = sweep.find_outcome(trial.input)
    assert outcome
    assert outcome.state == "complete"


def test_an_interrupted_trial_can_be_completed(
    store: Store, sweep: SweepRun, trial: Result, metadata: RunMetadata
) -> None:
    LiveRun(store, replace(metadata, parent=sweep.run_id)).end()
    sweep.record_outcome(trial.input, Outcome("unfinished", reason="interrupted"))
    assert sweep.find_outcome(trial.input) is None
    (run,) = runs_of(store, trial)
    assert (run.info.status, run.data.tags["trial.reason"]) == ("KILLED", "interrupted")
    assert record_result(store, trial) == run.info.run_id


def test_a_crashed_trial_is_tried_again(store: Store, sweep: SweepRun, trial: Result, metadata: RunMetadata) -> None:
    sweep.record_outcome(trial.input, Outcome("crashed", reason="out of memory"))
    assert sweep.find_outcome(trial.input) is None
    LiveRun(store, replace(metadata, parent=sweep.run_id)).end("KILLED")
    (run,) = runs_of(store, trial)
    assert "trial.state" not in run.data.tags


def test_the_best_trial_of_a_sweep_is_found_by_the_fingerprint_of_the_sweep(
    store: Store, sweep: SweepRun, trial: Result
) -> None:
    with pytest.raises(InputError, match=r"has no best trial\. Repeat its command to finish it"):
        find_best_trial([store], "0123456789")
    record_result(store, trial)
    sweep.finish({"best_val_accuracy": 0.94}, "the note", "trial,state\n", {"trials": Figure()}, trial.input)
    best = find_best_trial([store], "0123456789")
    assert best.input == trial.input
    assert best.history["val_accuracy"].iloc[-1] == 0.94
    assert {file.path for file in store.client.list_artifacts(sweep.run_id)} == {"trials.csv", "trials.png"}


def test_the_best_trial_is_found_in_the_experiment_of_its_data_set(
    store: Store, sweep: SweepRun, trial: Result
) -> None:
    record_result(store, trial)
    sweep.finish({}, "the note", "trial,state\n", {}, trial.input)
    stores = [Store("letters"), store]
    assert find_best_trial(stores, "0123456789").input == trial.input
    start_sweep(stores[0], "9876543210")
    with pytest.raises(InputError, match=r"^Sweep abcdef is not in MLflow\. Known sweeps: 0123456789, 9876543210\.$"):
        find_best_trial(stores, "abcdef")


def test_an_unknown_sweep_is_named_with_the_known_ones(store: Store, sweep: SweepRun) -> None:
    assert sweep.run_id
    with pytest.raises(InputError, match=r"^Sweep abcdef is not in MLflow\. Known sweeps: 0123456789\.$"):
        find_best_trial([store], "abcdef")


def test_the_final_training_becomes_a_child_of_the_sweep(store: Store, sweep: SweepRun, result: Result) -> None:
    with pytest.raises(InputError, match=r"^run=sgd_32 is not in MLflow\. Record it: python -m pipelines\.track"):
        sweep.attach_final_run(result.input)
    run_id = record_result(store, result)
    assert sweep.attach_final_run(result.input) == {"test_loss": 0.2, "test_accuracy": 0.94}
    assert store.client.get_run(run_id).data.tags["mlflow.parentRunId"] == sweep.run_id
    assert store.client.get_run(sweep.run_id).data.metrics == {"test_loss": 0.2, "test_accuracy": 0.94}


def test_a_replicate_receives_a_name_and_its_history_is_found(
    store: Store, trial: Result, history: pd.DataFrame
) -> None:
    assert name_and_read_replicate(store, trial.input, "sgd_32 seed 1") is None
    run_id = record_result(store, trial)
    found = name_and_read_replicate(store, trial.input, "sgd_32 seed 1")
    assert found is not None
    assert found.environment == {"processor": "a processor", "keras": "3.15"}
    pd.testing.assert_frame_equal(found.history, history, check_index_type=False)
    assert store.client.get_run(run_id).info.run_name == "sgd_32 seed 1"


def test_a_new_set_of_replicates_supersedes_the_older_set_and_its_seeds(store: Store, adhoc_result: Result) -> None:
    ids = []
    for edit in ("first", "second"):
        parent = start_sweep(store, edit).run_id
        assert adhoc_result.metadata
        training = replace(adhoc_result.input, files={**adhoc_result.input.files, "code": edit})
        metadata = replace(adhoc_result.metadata, parent=parent)
        outputs = {**adhoc_result.outputs, "model.h5": edit}
        seed = record_result(store, replace(adhoc_result, input=training, metadata=metadata, outputs=outputs))
        name_and_read_replicate(store, training, "sgd_32 seed 1")
        ids.append((parent, seed))
    assert superseded_runs(store) == dict(zip(*ids, strict=True))


def test_the_speed_of_trainings_on_the_same_machine_is_known(any_store: Store, adhoc_result: Result) -> None:
    record_result(any_store, adhoc_result)
    assert median_images_per_second(any_store, 2, "a processor") == pytest.approx(60 / 29.25)
    assert median_images_per_second(any_store, 1, "a processor") is None
    assert median_images_per_second(any_store, 2, "another processor") is None
