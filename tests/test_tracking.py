"""The record in MLflow, on a SQLite file and on a server over HTTP on PostgreSQL."""

import json
import multiprocessing
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run
from servers import mlflow_server, postgresql

from mnist_cnn import evaluation, model, paths
from mnist_cnn.dataset import Examples
from mnist_cnn.errors import InputError
from mnist_cnn.paths import RunFiles
from mnist_cnn.results import Execution, Held, Result, Revision, TrainingInput
from mnist_cnn.schema import Train
from mnist_cnn.sweep.trials import Outcome
from mnist_cnn.tracking import registry, sweeps
from mnist_cnn.tracking.contents import RESULT_TAG
from mnist_cnn.tracking.live import LiveRun
from mnist_cnn.tracking.record import missing, record
from mnist_cnn.tracking.store import Store, address

EXPERIMENT = "test"
ENVIRONMENT = {"python": "3.11", "keras": "3.15"}
REVISION = Revision("c0ffee", ("params.yaml",))


@pytest.fixture(scope="module", params=["SQLite", "HTTP on PostgreSQL"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    root = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "TRACKING_DATABASE", root / "mlflow.db")
        patch.setattr(paths, "TRACKING_ARTIFACTS", root / "mlartifacts")
        if request.param == "SQLite":
            patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{paths.TRACKING_DATABASE}")
            yield Store(EXPERIMENT)
        else:
            with postgresql() as database, mlflow_server(database, root / "artifacts") as server:
                patch.setenv("MLFLOW_TRACKING_URI", server)
                yield Store(EXPERIMENT)


@pytest.fixture(scope="module")
def model_file(train_config: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("model") / "model.h5"
    model.build(**train_config.model.model_dump()).save(file)
    return file


@pytest.fixture
def result(tmp_path: Path, train_config: Train, history: pd.DataFrame, model_file: Path) -> Result:
    """A finished, documented run with two epochs, whose input and result no other test has."""
    files = RunFiles(tmp_path / "sgd_32")
    files.plot("loss").parent.mkdir(parents=True)
    files.plot("loss").write_bytes(b"a plot")
    shutil.copy(model_file, files.model)
    files.metrics.write_text(json.dumps({"test_loss": 0.2, "test_accuracy": 0.94, "class_accuracy": {"0": 1.0}}))
    configuration = {**train_config.decisive(), "library_defaults": []}
    files.configuration.write_text(yaml.safe_dump(configuration))
    history.to_csv(files.history)
    diagram, description = tmp_path / "model.png", tmp_path / "dataset.json"
    diagram.write_bytes(b"a drawing")
    description.write_text(json.dumps({"train": {"examples": 60}, "test": {"examples": 10}}))
    training = TrainingInput(
        "sgd_32",
        "python -m pipelines.train run=sgd_32",
        files.configuration.read_text(),
        {"data/prepared/mnist.npz": "4567", "src/mnist_cnn/training.py": str(tmp_path)},
    )
    return Result(
        training,
        {"history.csv": "0123", "model.h5": str(tmp_path)},
        files,
        documented=True,
        revision=REVISION,
        execution=Execution(training, 1_700_000_000.0, 60, ENVIRONMENT, REVISION, None, [30.5, 29.25]),
        diagrams=(diagram,),
        dataset=description,
    )


@pytest.fixture
def execution(result: Result, monkeypatch: pytest.MonkeyPatch) -> Execution:
    """The training of `result`, about to start."""
    monkeypatch.setattr(paths, "DATASET_REPORT", result.dataset)
    assert result.execution
    return replace(result.execution, epoch_seconds=[])


def runs_of(store: Store, result: Result) -> list[Run]:
    return store.find("input", result.input.identity)


def rows(result: Result) -> dict[int, dict[str, float]]:
    """The epochs of a result as a training hands them on."""
    frame = pd.read_csv(result.files.history, index_col="epoch").assign(seconds=[30.5, 29.25])
    return {epoch: dict(row) for epoch, row in frame.iterrows()}


def logged(store: Store, run_id: str, name: str = "loss") -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in store.client.get_metric_history(run_id, name)]


def test_a_result_is_recorded_with_its_configuration_metrics_and_tags(store: Store, result: Result) -> None:
    run = store.client.get_run(record(store, result).run_id)
    assert (run.info.run_name, run.info.status) == ("sgd_32", "FINISHED")
    assert run.data.params == {
        "optimizer": "SGD",
        "learning_rate": "0.01",
        "momentum": "0.0",
        "nesterov": "False",
        "batch_size": "32",
        "epochs": "10",
        "validation": "test",
        "model": "cnn",
        "seed": "42",
        "threads": "2",
        "precision": "float32",
    }
    assert run.data.metrics == pytest.approx(
        {
            "loss": 0.3,
            "accuracy": 0.9,
            "val_loss": 0.2,
            "val_accuracy": 0.94,
            "epoch_seconds": 29.25,
            "images_per_second": 60 / 29.25,
            "best_val_accuracy": 0.94,
            "best_epoch": 2,
            "test_loss": 0.2,
            "test_accuracy": 0.94,
        }
    )
    expected = {
        "dvc.data/prepared/mnist.npz": "4567",
        "dvc.history.csv": "0123",
        "dvc.stage": "train@sgd_32",
        "environment.keras": "3.15",
        "git.uncommitted": "params.yaml",
        "mlflow.source.git.commit": "c0ffee",
        "mlflow.source.name": "python -m pipelines.train run=sgd_32",
    }
    assert expected.items() <= run.data.tags.items()
    assert (run.info.start_time, run.info.end_time) == (1_700_000_000_000, 1_700_000_059_750)


def test_the_data_set_is_an_input_with_dvc_s_md5_as_its_digest(store: Store, result: Result) -> None:
    record(store, result)
    run = store.client.get_run(record(store, result).run_id)
    assert run.inputs
    (data,) = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("mnist", "4567")
    assert json.loads(data.dataset.profile or "") == {"train_images": 60, "test_images": 10}


def test_the_description_says_the_result_and_how_to_reproduce_it(store: Store, result: Result) -> None:
    note = store.client.get_run(record(store, result).run_id).data.tags["mlflow.note.content"]
    assert note.startswith("Test accuracy 94.00%, loss 0.2000.")
    assert "git checkout c0ffee\ndvc repro evaluate@sgd_32" in note
    assert "Not committed when it was recorded: `params.yaml`." in note


def test_a_value_that_keras_chose_is_named(store: Store, result: Result) -> None:
    configuration = {**yaml.safe_load(result.input.configuration), "library_defaults": ["optimizer.config.rho"]}
    chosen = replace(result, input=replace(result.input, configuration=yaml.safe_dump(configuration)))
    tags = store.client.get_run(record(store, chosen).run_id).data.tags
    assert tags["library_defaults"] == "optimizer.config.rho"
    assert "Keras' own defaults decide `optimizer.config.rho`." in tags["mlflow.note.content"]


def test_epochs_are_recorded_at_steps_from_1(store: Store, result: Result) -> None:
    run_id = record(store, result).run_id
    assert logged(store, run_id, "val_accuracy") == [(1, 0.91), (2, 0.94)]


def test_more_epochs_than_fit_one_request_are_recorded(store: Store, result: Result, history: pd.DataFrame) -> None:
    long = pd.concat([history] * 150, ignore_index=True)
    long.index = pd.RangeIndex(1, 301, name="epoch")
    long.to_csv(result.files.history)
    run_id = record(store, replace(result, execution=None)).run_id
    assert [step for step, _ in logged(store, run_id)] == list(range(1, 301))


def test_every_file_of_the_run_and_the_diagram_are_recorded(store: Store, result: Result) -> None:
    run_id = record(store, result).run_id
    files = {file.path for file in store.client.list_artifacts(run_id)}
    assert files == {"config.yaml", "diagram", "history.csv", "metrics.json", "model.h5", "plots"}
    assert [file.path for file in store.client.list_artifacts(run_id, "diagram")] == ["diagram/model.png"]


def test_the_model_is_logged_once_with_signature_and_predicts_the_same(
    store: Store, result: Result, examples: Examples
) -> None:
    run_id = record(store, result).run_id
    assert record(store, result).run_id == run_id
    (logged_model,) = store.client.search_logged_models([store.experiment_id], f"source_run_id = '{run_id}'")
    metrics = {metric.key: metric.value for metric in logged_model.metrics or []}
    assert metrics == {"test_loss": 0.2, "test_accuracy": 0.94}
    mlflow.set_tracking_uri(store.uri)
    loaded = mlflow.pyfunc.load_model(logged_model.model_uri)
    assert loaded.metadata.get_input_schema().inputs[0].shape == (-1, 28, 28, 1)
    expected = evaluation.load_model(result.files.model).predict(examples.images[:5], verbose=0)
    np.testing.assert_allclose(loaded.predict(examples.images[:5]), expected, atol=1e-6)


def test_recording_a_result_again_changes_nothing(store: Store, result: Result) -> None:
    first = record(store, result)
    before = store.client.get_run(first.run_id)
    assert record(store, result) == first
    assert len(runs_of(store, result)) == 1
    after = store.client.get_run(first.run_id)
    assert after.data.to_dictionary() == before.data.to_dictionary()
    assert after.info.end_time == before.info.end_time
    assert len(logged(store, first.run_id)) == 2


def test_a_plot_that_looks_different_now_is_replaced(store: Store, result: Result, tmp_path: Path) -> None:
    run_id = record(store, result).run_id
    result.files.plot("loss").write_bytes(b"another plot")
    record(store, result)
    assert (
        Path(store.client.download_artifacts(run_id, "plots/loss.png", str(tmp_path))).read_bytes() == b"another plot"
    )


@pytest.mark.parametrize(
    "step",
    ["log_batch", "log_inputs", "log_artifacts", "log_model_artifacts", "finalize_logged_model", "set_terminated"],
)
def test_a_record_that_was_cut_off_is_completed_not_doubled(
    store: Store, result: Result, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    class CutOff(BaseException):
        pass

    def stop(*_arguments: Any, **_options: Any) -> None:
        raise CutOff

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, step, stop)
        with pytest.raises(CutOff):
            record(store, result)
    run_id = record(store, result).run_id
    (run,) = runs_of(store, result)
    assert (run.info.run_id, run.info.status) == (run_id, "FINISHED")
    assert logged(store, run_id) == [(1, 0.6), (2, 0.3)]
    assert len(store.client.search_logged_models([store.experiment_id], f"source_run_id = '{run_id}'")) == 1


def test_another_result_of_the_same_input_is_a_second_run_and_is_reported(store: Store, result: Result) -> None:
    first = record(store, result)
    second = record(store, replace(result, outputs={**result.outputs, "history.csv": "89ab"}))
    assert second.contradicting == [first.run_id]
    assert len(runs_of(store, result)) == 2


def test_the_same_result_of_a_changed_input_is_the_same_run(store: Store, result: Result) -> None:
    first = record(store, result)
    commented = replace(result, input=replace(result.input, files={**result.input.files, "pipelines/train.py": "1"}))
    assert record(store, commented) == first
    assert store.client.get_run(first.run_id).data.tags["input"] == commented.input.identity


def test_a_result_that_was_trained_elsewhere_is_recorded_without_times(store: Store, result: Result) -> None:
    run = store.client.get_run(record(store, replace(result, execution=None)).run_id)
    assert {"epoch_seconds", "images_per_second"}.isdisjoint(run.data.metrics)
    assert run.info.status == "FINISHED"


def test_test_metrics_that_are_measured_anew_are_corrected(store: Store, result: Result) -> None:
    run_id = record(store, result).run_id
    result.files.metrics.write_text(json.dumps({"test_loss": 0.1, "test_accuracy": 0.95}))
    record(store, result)
    metrics = store.client.get_run(run_id).data.metrics
    assert (metrics["test_loss"], metrics["test_accuracy"]) == (0.1, 0.95)


def test_what_the_store_lacks_is_missing(store: Store, result: Result) -> None:
    held = Held("sgd_32", result.identity, None, REVISION)
    assert missing(store, [held]) == [held]
    record(store, result)
    assert missing(store, [held]) == []


def test_epochs_are_recorded_while_a_training_runs(store: Store, result: Result, execution: Execution) -> None:
    live = LiveRun(store, execution)
    live.epoch(1, rows(result)[1])
    (run,) = runs_of(store, result)
    assert run.info.status == "RUNNING"
    assert logged(store, run.info.run_id) == [(1, 0.6)]
    assert run.data.params["learning_rate"] == "0.01"
    live.end()


def test_the_result_of_a_training_completes_its_live_run(store: Store, result: Result, execution: Execution) -> None:
    live = LiveRun(store, execution)
    for epoch, values in rows(result).items():
        live.epoch(epoch, values)
    live.end()
    (followed,) = runs_of(store, result)
    assert record(store, result).run_id == followed.info.run_id
    (run,) = runs_of(store, result)
    assert run.info.status == "FINISHED"
    assert logged(store, run.info.run_id) == [(1, 0.6), (2, 0.3)]
    assert len(logged(store, run.info.run_id, "epoch_seconds")) == 2


def test_a_training_of_a_changed_input_that_gives_a_known_result_leaves_one_run(
    store: Store, result: Result, execution: Execution
) -> None:
    first = record(store, result)
    changed = replace(result.input, files={**result.input.files, "pipelines/train.py": "1"})
    live = LiveRun(store, replace(execution, input=changed))
    for epoch, values in rows(result).items():
        live.epoch(epoch, values)
    live.end()
    assert record(store, replace(result, input=changed)).run_id == first.run_id
    (run,) = store.find("input", changed.identity)
    assert run.info.run_id == first.run_id


def test_a_training_that_diverges_twice_is_one_run(store: Store, result: Result, execution: Execution) -> None:
    for _ in range(2):
        live = LiveRun(store, execution)
        live.epoch(1, {**rows(result)[1], "loss": float("nan")})
        live.end("FAILED")
    (run,) = runs_of(store, result)
    assert run.info.status == "FAILED"


def test_a_deleted_experiment_is_named_with_the_remedy(store: Store) -> None:
    other = Store("deleted")
    store.client.delete_experiment(other.experiment_id)
    with pytest.raises(InputError, match=r"^MLflow's experiment deleted was deleted\. Restore it: mlflow experiments"):
        Store("deleted")


def test_a_killed_training_that_starts_again_continues_its_run(
    store: Store, result: Result, execution: Execution
) -> None:
    first = LiveRun(store, execution)
    first.epoch(1, rows(result)[1])
    first.end("KILLED")
    (killed,) = runs_of(store, result)
    assert killed.info.status == "KILLED"
    second = LiveRun(store, execution)
    for epoch, values in rows(result).items():
        second.epoch(epoch, values)
    second.end()
    (run,) = runs_of(store, result)
    assert (run.info.run_id, run.info.status) == (killed.info.run_id, "RUNNING")
    assert logged(store, run.info.run_id) == [(1, 0.6), (2, 0.3)]


def test_a_training_that_starts_again_with_other_numbers_is_another_run(
    store: Store, result: Result, execution: Execution
) -> None:
    first = LiveRun(store, execution)
    first.epoch(1, {**rows(result)[1], "loss": 0.61})
    first.end("KILLED")
    second = LiveRun(store, execution)
    for epoch, values in rows(result).items():
        second.epoch(epoch, values)
    second.end()
    run_id = record(store, result).run_id
    assert logged(store, run_id) == [(1, 0.6), (2, 0.3)]
    assert {run.info.status for run in runs_of(store, result)} == {"KILLED", "FINISHED"}


def test_an_input_whose_result_is_recorded_is_not_followed(store: Store, result: Result, execution: Execution) -> None:
    run_id = record(store, result).run_id
    live = LiveRun(store, execution)
    assert live.recorded == [run_id]
    live.epoch(1, {**rows(result)[1], "loss": 9.0})
    live.end("FAILED")
    (run,) = runs_of(store, result)
    assert run.info.status == "FINISHED"
    assert logged(store, run_id) == [(1, 0.6), (2, 0.3)]


def test_the_alias_moves_to_the_promoted_run_which_is_registered_once(store: Store, result: Result) -> None:
    other = replace(result, outputs={**result.outputs, "history.csv": "cdef"})
    for recorded in (result, other):
        record(store, recorded)
    assert registry.promote(store, result, "digits", "champion") == registry.Promotion("1", None)
    assert registry.promote(store, other, "digits", "champion") == registry.Promotion("2", "1")
    assert registry.promote(store, result, "digits", "champion") == registry.Promotion("1", "2")
    assert registry.aliased(store, "digits", "champion") == "1"


def test_a_run_whose_metrics_are_not_in_the_store_is_not_promoted(store: Store, result: Result) -> None:
    message = r"^run=sgd_32 is not in MLflow with its metrics\. Record it: dvc repro .*track@sgd_32$"
    with pytest.raises(InputError, match=message):
        registry.promote(store, result, "refused", "champion")
    record(store, result)
    result.files.metrics.write_text(json.dumps({"test_loss": 0.0, "test_accuracy": 1.0}))
    with pytest.raises(InputError, match=message):
        registry.promote(store, result, "refused", "champion")
    assert registry.aliased(store, "refused", "champion") is None


def _record(result: Result) -> str:
    return record(Store(EXPERIMENT), result).run_id


def test_eight_processes_that_start_together_on_no_store_make_one_run(
    result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))  # where the processes put the lock and the artifacts
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with multiprocessing.get_context("spawn").Pool(8) as pool:
        run_ids = pool.map(_record, [result] * 8, chunksize=1)
    store = Store(EXPERIMENT)
    (run,) = store.find(RESULT_TAG, result.identity)
    assert set(run_ids) == {run.info.run_id}
    assert logged(store, run.info.run_id) == [(1, 0.6), (2, 0.3)]
    assert {file.name for file in tmp_path.glob("*mlflow*")} == {"mlflow.db", "mlflow.db.lock"}


def test_a_store_that_cannot_be_reached_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(
        InputError, match=r"^MLflow at http://127\.0\.0\.1:9: .*Connection refused\. Check MLFLOW_TRACKING_URI"
    ):
        Store(EXPERIMENT)


def test_the_store_is_a_file_in_the_project_unless_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert address() == f"sqlite:///{paths.TRACKING_DATABASE}"


def test_a_store_that_is_no_uri_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "localhost:8080")
    with pytest.raises(InputError, match=r"^MLFLOW_TRACKING_URI=localhost:8080 is no URI: http://"):
        address()


def test_a_relative_store_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    with pytest.raises(InputError, match=r"^MLFLOW_TRACKING_URI=sqlite:///mlflow\.db is relative"):
        Store(EXPERIMENT)


@pytest.fixture
def sweep(store: Store, tmp_path: Path) -> sweeps.SweepRun:
    return sweeps.SweepRun(store, f"sweep of {tmp_path}", "python -m pipelines.train -m", {"search": "tpe"})


@pytest.fixture
def trial(result: Result, sweep: sweeps.SweepRun) -> Result:
    """A finished trial of the sweep."""
    assert result.execution
    return replace(result, documented=False, execution=replace(result.execution, parent=sweep.run_id))


def test_the_same_sweep_goes_on_in_the_same_run(store: Store, sweep: sweeps.SweepRun, tmp_path: Path) -> None:
    sweep.end("KILLED")
    again = sweeps.SweepRun(store, f"sweep of {tmp_path}", "python -m pipelines.train -m", {"search": "tpe"})
    assert again.run_id == sweep.run_id
    assert store.client.get_run(sweep.run_id).info.status == "RUNNING"


def test_a_finished_trial_is_complete_below_its_sweep_and_elsewhere(
    store: Store, sweep: sweeps.SweepRun, trial: Result
) -> None:
    run = store.client.get_run(record(store, trial).run_id)
    assert run.data.tags["mlflow.parentRunId"] == sweep.run_id
    here = sweeps.outcome(store, trial.input, sweep.run_id)
    assert here == Outcome("complete", {1: 0.91, 2: 0.94}, origin="before")
    assert sweeps.outcome(store, trial.input, None) == replace(here, origin="elsewhere")


def test_a_trial_that_was_stopped_is_never_taken_for_complete(
    store: Store, sweep: sweeps.SweepRun, trial: Result, execution: Execution
) -> None:
    live = LiveRun(store, replace(execution, parent=sweep.run_id))
    live.epoch(1, rows(trial)[1])
    sweep.conclude(trial.input, Outcome("pruned", {1: 0.91}, "others were better"))
    live.end("KILLED")
    (run,) = runs_of(store, trial)
    assert (run.info.status, run.data.tags["trial.state"]) == ("KILLED", "pruned")
    assert run.data.tags["trial.reason"] == "others were better"
    found = sweeps.outcome(store, trial.input, sweep.run_id)
    assert found == Outcome("pruned", {1: 0.91}, "others were better", origin="before")
    assert sweeps.outcome(store, trial.input, None) is None  # to another sweep it means nothing


def test_epochs_that_were_cut_off_with_a_trial_are_added(
    store: Store, sweep: sweeps.SweepRun, trial: Result, execution: Execution
) -> None:
    LiveRun(store, replace(execution, parent=sweep.run_id)).end()
    sweep.conclude(trial.input, Outcome("pruned", {1: 0.91}, "others were better"))
    (run,) = runs_of(store, trial)
    assert logged(store, run.info.run_id, "val_accuracy") == [(1, 0.91)]


def test_a_trial_that_another_sweep_stopped_is_recorded_beside_it(
    store: Store, sweep: sweeps.SweepRun, trial: Result, tmp_path: Path
) -> None:
    other = sweeps.SweepRun(store, f"other sweep of {tmp_path}", "python", {})
    other.conclude(trial.input, Outcome("pruned", {1: 0.91}, "others were better"))
    record(store, trial)
    statuses = {run.data.tags["mlflow.parentRunId"]: run.info.status for run in runs_of(store, trial)}
    assert statuses == {other.run_id: "KILLED", sweep.run_id: "FINISHED"}


def test_a_trial_that_failed_before_it_began_has_a_run_with_the_reason(
    store: Store, sweep: sweeps.SweepRun, trial: Result
) -> None:
    sweep.conclude(trial.input, Outcome("failed", reason="diverged"))
    (run,) = runs_of(store, trial)
    assert (run.info.status, run.data.tags["trial.reason"]) == ("FAILED", "diverged")
    assert run.data.params["optimizer"] == "SGD"


def test_a_trial_that_was_completed_after_all_stays_complete(
    store: Store, sweep: sweeps.SweepRun, trial: Result
) -> None:
    record(store, trial)
    sweep.conclude(trial.input, Outcome("pruned", {1: 0.91}, "others were better"))
    found = sweeps.outcome(store, trial.input, sweep.run_id)
    assert found
    assert found.complete


def test_epochs_after_the_end_of_a_trial_do_not_count(
    store: Store, sweep: sweeps.SweepRun, trial: Result, execution: Execution
) -> None:
    live = LiveRun(store, replace(execution, parent=sweep.run_id))
    for epoch, values in rows(trial).items():
        live.epoch(epoch, values)
    sweep.conclude(trial.input, Outcome("pruned", {1: 0.91}, "others were better"))
    live.end("FAILED")
    found = sweeps.outcome(store, trial.input, sweep.run_id)
    assert found == Outcome("pruned", {1: 0.91}, "others were better", origin="before")
    assert runs_of(store, trial)[0].info.status == "KILLED"


def test_a_trial_that_runs_when_its_sweep_ends_can_go_on(
    store: Store, sweep: sweeps.SweepRun, trial: Result, execution: Execution
) -> None:
    LiveRun(store, replace(execution, parent=sweep.run_id)).end()
    sweep.leave(trial.input)
    assert runs_of(store, trial)[0].info.status == "KILLED"
    assert record(store, trial).run_id == runs_of(store, trial)[0].info.run_id


def test_a_trial_whose_process_died_is_tried_again(store: Store, sweep: sweeps.SweepRun, trial: Result) -> None:
    sweep.conclude(trial.input, Outcome("died", reason="out of memory"))
    assert sweeps.outcome(store, trial.input, sweep.run_id) is None


def test_the_winner_of_a_sweep_is_found_by_the_sweep(
    store: Store, sweep: sweeps.SweepRun, trial: Result, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"has no winner: it is not finished, or its trials are replicates\."):
        sweeps.winner(store, f"sweep of {tmp_path}")
    record(store, trial)
    sweep.finish({"best_val_accuracy": 0.94}, "the note", "trial,state\n", {}, trial.input)
    winner = sweeps.winner(store, f"sweep of {tmp_path}")
    assert winner == sweeps.Winner(yaml.safe_load(trial.input.configuration), 0.94)


def test_an_unknown_sweep_is_named_with_the_known_ones(store: Store, sweep: sweeps.SweepRun) -> None:
    assert sweep.run_id
    with pytest.raises(InputError, match=r"^sweep=0123456789 is not in MLflow\. There are: .*sweep of "):
        sweeps.winner(store, "0123456789")


def test_the_speed_of_trainings_alike_is_known(store: Store, result: Result) -> None:
    assert result.execution
    there = replace(result.execution, environment={"processor": "a processor of its own"})
    record(store, replace(result, execution=there))
    assert sweeps.images_per_second(store, 2, "a processor of its own") == pytest.approx(60 / 29.25)
    assert sweeps.images_per_second(store, 1, "a processor of its own") is None
