import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from mnist_cnn import paths, tracking
from mnist_cnn.errors import InputError
from mnist_cnn.paths import RunFiles
from mnist_cnn.schema import Train
from mnist_cnn.tracking import Result

EXPERIMENT = "test"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowClient]:
    """The default store, a SQLite file, in a temporary project."""
    root = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(paths, "TRACKING_DATABASE", root / "mlflow.db")
        patch.setattr(paths, "TRACKING_ARTIFACTS", root / "mlartifacts")
        yield MlflowClient(f"sqlite:///{root / 'mlflow.db'}")


@pytest.fixture
def result(tmp_path: Path, train_config: Train, history: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> Result:
    """A finished run with two epochs whose lock entry no other test has."""
    files = RunFiles(tmp_path / "sgd_32")
    files.plot("loss").parent.mkdir(parents=True)
    files.plot("loss").write_bytes(b"a plot")
    files.model.write_bytes(b"a model")
    files.metrics.write_text(json.dumps({"test_loss": 0.2, "test_accuracy": 0.94, "class_accuracy": {"0": 1.0}}))
    files.configuration.write_text(yaml.safe_dump(train_config.model_dump()))
    history.to_csv(files.history)
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "MODEL_DIAGRAMS", (tmp_path / "model.png", tmp_path / "model.svg"))
    monkeypatch.setattr(paths, "MODEL_SUMMARY", tmp_path / "model.txt")
    for file in (*paths.MODEL_DIAGRAMS, paths.MODEL_SUMMARY):
        file.write_bytes(b"a drawing")
    files.execution.parent.mkdir()
    files.execution.write_text(json.dumps({"model_md5": "0123", "epoch_seconds": [30.5, 29.25]}))
    locked = {
        "cmd": f"python -m pipelines.train run={tmp_path.name}",
        "deps": [{"path": "data/prepared/mnist.npz", "md5": "4567"}],
        "outs": [{"path": f"runs/{tmp_path.name}/model.h5", "md5": "0123"}],
    }
    return Result("sgd_32", files, locked)


def runs_of(store: MlflowClient, result: Result) -> list[Run]:
    experiment = store.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    runs: list[Run] = store.search_runs([experiment.experiment_id], f"tags.input = '{result.input_identity}'")
    return runs


def test_a_result_is_recorded_with_its_configuration_metrics_and_tags(store: MlflowClient, result: Result) -> None:
    run = store.get_run(tracking.record(result, EXPERIMENT).run_id)
    assert (run.info.run_name, run.info.status) == ("sgd_32", "FINISHED")
    assert run.data.params == {
        "optimizer": "SGD",
        "learning_rate": "0.01",
        "momentum": "0.0",
        "nesterov": "False",
        "batch_size": "32",
        "epochs": "10",
        "model": "cnn",
        "seed": "42",
        "threads": "2",
    }
    assert run.data.metrics == {
        "loss": 0.3,
        "accuracy": 0.9,
        "val_loss": 0.2,
        "val_accuracy": 0.94,
        "epoch_seconds": 29.25,
        "test_loss": 0.2,
        "test_accuracy": 0.94,
    }
    assert run.data.tags["dvc.data/prepared/mnist.npz"] == "4567"
    assert run.data.tags["mlflow.source.name"] == result.locked["cmd"]
    assert run.info.end_time - run.info.start_time == 59_750


def test_epochs_are_recorded_at_steps_from_1(store: MlflowClient, result: Result) -> None:
    run_id = tracking.record(result, EXPERIMENT).run_id
    assert [(point.step, point.value) for point in store.get_metric_history(run_id, "val_accuracy")] == [
        (1, 0.91),
        (2, 0.94),
    ]


def test_every_file_of_the_run_and_the_diagram_are_recorded(store: MlflowClient, result: Result) -> None:
    run_id = tracking.record(result, EXPERIMENT).run_id
    assert {file.path for file in store.list_artifacts(run_id)} == {
        "config.yaml",
        "diagram",
        "history.csv",
        "metrics.json",
        "model.h5",
        "plots",
    }
    assert {file.path for file in store.list_artifacts(run_id, "diagram")} == {
        "diagram/model.png",
        "diagram/model.svg",
        "diagram/model.txt",
    }
    assert Path(store.get_run(run_id).info.artifact_uri.removeprefix("file://")).is_relative_to(
        paths.TRACKING_ARTIFACTS
    )


def test_recording_a_result_again_changes_nothing(store: MlflowClient, result: Result) -> None:
    first = tracking.record(result, EXPERIMENT)
    before = store.get_metric_history(first.run_id, "loss")
    assert tracking.record(result, EXPERIMENT) == first
    assert len(runs_of(store, result)) == 1
    assert len(store.get_metric_history(first.run_id, "loss")) == len(before)


def test_a_plot_that_looks_different_now_is_replaced(store: MlflowClient, result: Result, tmp_path: Path) -> None:
    run_id = tracking.record(result, EXPERIMENT).run_id
    result.files.plot("loss").write_bytes(b"another plot")
    tracking.record(result, EXPERIMENT)
    downloaded = store.download_artifacts(run_id, "plots/loss.png", str(tmp_path))
    assert Path(downloaded).read_bytes() == b"another plot"


def test_a_record_that_was_cut_off_is_completed(
    store: MlflowClient, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_arguments: Any, **_options: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_artifacts", stop)
        with pytest.raises(KeyboardInterrupt):
            tracking.record(result, EXPERIMENT)
    result.files.execution.unlink()
    run_id = tracking.record(result, EXPERIMENT).run_id
    (run,) = runs_of(store, result)
    assert (run.info.run_id, run.info.status) == (run_id, "FINISHED")
    assert len(store.get_metric_history(run_id, "loss")) == 2


def test_another_result_of_the_same_input_is_a_second_run_and_is_reported(
    store: MlflowClient, result: Result, tmp_path: Path
) -> None:
    first = tracking.record(result, EXPERIMENT)
    other = replace(result, locked={**result.locked, "outs": [{"path": "runs/sgd_32/model.h5", "md5": tmp_path.name}]})
    second = tracking.record(other, EXPERIMENT)
    assert second.contradicting == [first.run_id]
    assert len(runs_of(store, result)) == 2


def test_the_seconds_of_another_model_are_not_recorded(store: MlflowClient, result: Result) -> None:
    result.files.execution.write_text(json.dumps({"model_md5": "cdef", "epoch_seconds": [1, 1]}))
    run = store.get_run(tracking.record(result, EXPERIMENT).run_id)
    assert "epoch_seconds" not in run.data.metrics


def test_the_same_result_of_a_changed_input_is_the_same_run(store: MlflowClient, result: Result) -> None:
    first = tracking.record(result, EXPERIMENT)
    commented = replace(result, locked={**result.locked, "deps": [{"path": "src/mnist_cnn/training.py", "md5": "1"}]})
    assert tracking.record(commented, EXPERIMENT) == first
    assert store.get_run(first.run_id).data.tags["input"] == commented.input_identity


def test_test_metrics_that_are_measured_anew_are_corrected(store: MlflowClient, result: Result) -> None:
    run_id = tracking.record(result, EXPERIMENT).run_id
    ended = store.get_run(run_id).info.end_time
    result.files.metrics.write_text(json.dumps({"test_loss": 0.1, "test_accuracy": 0.95}))
    result.files.execution.unlink()
    tracking.record(result, EXPERIMENT)
    run = store.get_run(run_id)
    assert (run.data.metrics["test_loss"], run.data.metrics["test_accuracy"]) == (0.1, 0.95)
    assert run.info.end_time == ended


@pytest.mark.usefixtures("store")
def test_a_store_that_cannot_be_reached_is_named(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"^MLflow at http://127\.0\.0\.1:9: .* then: dvc repro track@sgd_32$"):
        tracking.record(result, EXPERIMENT)


def test_a_relative_store_is_refused(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    with pytest.raises(InputError, match=r"^MLFLOW_TRACKING_URI=sqlite:///mlflow\.db is relative"):
        tracking.record(result, EXPERIMENT)


MODEL = {"path": "runs/sgd_32/model.h5", "md5": "0123"}


@pytest.mark.parametrize(
    "stages",
    [
        {},
        {"train@sgd_32": {"outs": [MODEL]}},
        {"train@sgd_32": {"outs": [MODEL]}, "evaluate@sgd_32": {"deps": [{**MODEL, "md5": "4567"}]}},
    ],
    ids=["untrained", "unevaluated", "evaluated before it was trained again"],
)
def test_a_run_that_dvc_has_not_finished_is_refused(tmp_path: Path, stages: dict[str, Any]) -> None:
    lock = tmp_path / "dvc.lock"
    lock.write_text(yaml.safe_dump({"stages": stages}))
    with pytest.raises(
        InputError, match=r"^dvc\.lock has no evaluated training of run=sgd_32\. .* dvc repro track@sgd_32$"
    ):
        tracking.read_result("sgd_32", RunFiles(tmp_path), lock)


def test_a_finished_run_is_read_from_dvc_lock(tmp_path: Path) -> None:
    lock = tmp_path / "dvc.lock"
    stages = {"train@sgd_32": {"outs": [MODEL]}, "evaluate@sgd_32": {"deps": [MODEL]}}
    lock.write_text(yaml.safe_dump({"stages": stages}))
    assert tracking.read_result("sgd_32", RunFiles(tmp_path), lock).locked == {"outs": [MODEL]}
