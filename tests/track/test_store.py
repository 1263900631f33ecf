"""The tracking store: its address, its errors, and its lock."""

import multiprocessing
import os
import shutil
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from tracking_helpers import logged

from image_classifier import paths
from image_classifier.errors import InputError
from image_classifier.provenance.result import Result
from image_classifier.track.store import RESULT_TAG, Store, tracking_uri
from image_classifier.track.writer import record_result


def test_the_store_is_a_file_in_the_project_unless_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri() == f"sqlite:///{paths.TRACKING_DATABASE}"


def test_a_store_that_is_not_a_uri_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "localhost:8080")
    with pytest.raises(InputError, match=r"^MLFLOW_TRACKING_URI=localhost:8080 is not a URI\. Write http://"):
        tracking_uri()


def test_a_relative_path_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    with pytest.raises(InputError, match=r"^MLFLOW_TRACKING_URI=sqlite:///mlflow\.db has a relative path"):
        Store("test")


@pytest.mark.usefixtures("no_store")
def test_an_unreachable_store_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    message = r"^MLflow at http://127\.0\.0\.1:9: .*Connection refused\. Check MLFLOW_TRACKING_URI and the server\.$"
    with pytest.raises(InputError, match=message):
        Store("test")


def test_an_error_hides_the_password_of_the_store(store: Store) -> None:
    store.uri = "postgresql://user:secret@server/database"
    message = r"^MLflow at postgresql://user:\*\*\*@server/database: broken\. Check"
    with pytest.raises(InputError, match=message), store.translate_errors():
        raise MlflowException("broken")


def test_a_deleted_experiment_is_named_with_the_remedy(store: Store) -> None:
    store.client.delete_experiment(store.experiment_id)
    with pytest.raises(InputError, match=r"^MLflow's experiment test was deleted\. Restore it: mlflow experiments"):
        Store("test")


def _record(result: Result) -> str:
    return record_result(Store("test"), result)


@pytest.mark.slow
def test_processes_that_start_together_without_a_store_make_one_run(
    no_store: Path, adhoc_result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(no_store.parent))  # for the artifacts of the processes
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        run_ids = pool.map(_record, [adhoc_result] * 4, chunksize=1)
    store = Store("test")
    (run,) = store.find({RESULT_TAG: adhoc_result.fingerprint})
    assert set(run_ids) == {run.info.run_id}
    assert logged(store, run.info.run_id) == [(1, 0.6), (2, 0.3)]
    assert {file.name for file in no_store.parent.glob("*mlflow*")} == {"mlflow.db", "mlflow.db.lock"}


def test_a_store_in_a_folder_that_cannot_be_written_is_read_without_a_lock_file(
    no_store: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(empty_database, no_store)
    Store("test")
    no_store.with_name("mlflow.db.lock").unlink()
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    assert Store("test").find({"a": "b"}) == []
    assert not no_store.with_name("mlflow.db.lock").exists()
