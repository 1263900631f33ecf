"""Fixtures of the tracking tests: an MLflow store of each test's own, and a finished run."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml
from data_helpers import DIGITS
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus, Run
from servers import mlflow_server, postgresql

from image_classifier import paths
from image_classifier.config.schema import Train
from image_classifier.files import file_hashes
from image_classifier.paths import RunFiles
from image_classifier.provenance.fingerprint import TrainingInput
from image_classifier.provenance.result import Result
from image_classifier.provenance.revision import Revision
from image_classifier.provenance.run_metadata import OUTPUTS, RunMetadata
from image_classifier.track import writer
from image_classifier.track.store import Store

ENVIRONMENT = {"processor": "a processor", "keras": "3.15"}
REVISION = Revision("c0ffee", ("params.yaml",))


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables: to copy it is much faster than to create it."""
    database = tmp_path_factory.mktemp("database") / "mlflow.db"
    MlflowClient(f"sqlite:///{database}").search_experiments(max_results=1)
    return database


@pytest.fixture
def no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of a tracking database that does not exist."""
    database = tmp_path / "mlflow.db"
    monkeypatch.setattr(paths, "TRACKING_DATABASE", database)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")  # undone after the test, also if MLflow sets it
    return database


@pytest.fixture
def store(no_store: Path, empty_database: Path) -> Store:
    shutil.copy(empty_database, no_store)
    return Store("mnist")


@pytest.fixture(scope="session")
def tracking_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgresql() as database, mlflow_server(database, tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture(params=["SQLite", pytest.param("PostgreSQL", marks=pytest.mark.slow)])
def any_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, store: Store) -> Store:
    """The store in a SQLite file, and an experiment of the test's own on a server with PostgreSQL."""
    if request.param == "SQLite":
        return store
    monkeypatch.setenv("MLFLOW_TRACKING_URI", request.getfixturevalue("tracking_server"))
    return Store(request.node.name)


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a single layer of weights."""
    from image_classifier.train.model import build_model

    file = tmp_path_factory.mktemp("model") / "model.h5"
    dense = {"_target_": "keras.layers.Dense", "units": 10, "activation": "softmax"}
    build_model("small", [{"_target_": "keras.layers.Flatten"}, dense], (28, 28, 1), 10).save(file)
    return file


@pytest.fixture
def result(tmp_path: Path, train_config: Train, history: pd.DataFrame, model_file: Path) -> Result:
    """A pipeline run with two epochs, trained and evaluated."""
    files = RunFiles(tmp_path / "runs/mnist/sgd_32", tmp_path / "plots/mnist/sgd_32")
    files.directory.mkdir(parents=True)
    files.plots.mkdir(parents=True)
    files.plot("loss").write_bytes(b"a plot")
    shutil.copy(model_file, files.model)
    files.metrics.write_text(json.dumps({"test_loss": 0.2, "test_accuracy": 0.94}))
    configuration = {**train_config.fingerprint_config(), "run": "sgd_32", "library_defaults": []}
    files.configuration.write_text(yaml.safe_dump(configuration))
    history.to_csv(files.history)
    diagram, report = tmp_path / "cnn_mnist.png", tmp_path / "dataset_mnist.json"
    diagram.write_bytes(b"a drawing")
    form = {"name": "mnist", "classes": DIGITS, "image_shape": [28, 28, 1], "fit": "digit"}
    report.write_text(json.dumps({**form, "train": {"examples": 60}, "test": {"examples": 10}}))
    training = TrainingInput(
        "sgd_32",
        "python -m pipelines.train run=sgd_32",
        files.configuration.read_text(),
        {"data/prepared/mnist": "4567.dir", "src/image_classifier/train": "89ab.dir"},
    )
    return Result(
        training,
        file_hashes(files.directory, OUTPUTS),
        files,
        is_pipeline_run=True,
        revision=REVISION,
        metadata=RunMetadata(training, 1_700_000_000.0, 60, ENVIRONMENT, REVISION, None, [30.5, 29.25]),
        diagrams=(diagram,),
        dataset=report,
    )


@pytest.fixture
def adhoc_result(result: Result) -> Result:
    """An ad hoc run with the same model, which is not evaluated."""
    files = RunFiles(result.files.directory.parents[1] / "outputs/mine")
    shutil.copytree(result.files.directory, files.directory)
    shutil.copytree(result.files.plots, files.plots)
    files.metrics.unlink()
    return replace(result, files=files, is_pipeline_run=False)


@pytest.fixture
def metadata(result: Result, monkeypatch: pytest.MonkeyPatch) -> RunMetadata:
    """The metadata of the training of `result` when it starts."""
    monkeypatch.setattr(paths, "dataset_report", {result.data: result.dataset}.__getitem__)
    assert result.metadata
    return replace(result.metadata, epoch_seconds=[])


@pytest.fixture
def small_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Log two small files as the MLflow model of a result, which needs no TensorFlow."""
    folder = tmp_path / "small_model"
    (folder / "data").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}\n")

    def log_model(store: Store, run: Run, result: Result) -> str:
        (folder / "data/model.keras").write_text(result.fingerprint)
        model = store.client.create_logged_model(store.experiment_id, result.input.run, source_run_id=run.info.run_id)
        store.client.log_model_artifacts(model.model_id, str(folder))
        store.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        return str(model.model_id)

    monkeypatch.setattr(writer, "_log_model", log_model)
