"""The tracking store: its address, its errors, and its lock."""

import errno
import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from tracking_helpers import logged, promote

from image_classifier import paths
from image_classifier.errors import InputError
from image_classifier.provenance.result import Result
from image_classifier.track.registry import find_champion, is_lost
from image_classifier.track.store import INPUT_TAG, RESULT_TAG, Store, sqlite_uri, tracking_uri
from image_classifier.track.writer import record_result


def test_the_store_is_a_file_in_the_project_unless_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri() == f"sqlite:///{paths.TRACKING_DATABASE}"


def test_a_store_that_is_not_a_uri_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "localhost:8080")
    with pytest.raises(InputError, match=r"^MLFLOW_TRACKING_URI=localhost:8080 is not a URI\. Write http://"):
        tracking_uri()


def test_a_database_without_a_server_is_refused_because_it_has_no_place_for_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://user:secret@host/database")
    with pytest.raises(InputError) as raised:
        Store("mnist")
    assert str(raised.value) == (
        "MLFLOW_TRACKING_URI=postgresql://user:***@host/database has no place for files. Start a server and name it: "
        "mlflow server --backend-store-uri postgresql://user:***@host/database --artifacts-destination …"
    )


def test_a_relative_path_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    with pytest.raises(InputError, match=r"^MLFLOW_TRACKING_URI=sqlite:///mlflow\.db has a relative path"):
        Store("mnist")


@pytest.mark.usefixtures("no_store")
def test_an_unreachable_store_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    message = r"^MLflow at http://127\.0\.0\.1:9: .*Connection refused\. Check MLFLOW_TRACKING_URI and the server\.$"
    with pytest.raises(InputError, match=message):
        Store("mnist")


def test_an_error_hides_the_password_of_the_store(store: Store) -> None:
    store.uri = "postgresql://user:secret@server/database"
    message = r"^MLflow at postgresql://user:\*\*\*@server/database: broken\. Check"
    with pytest.raises(InputError, match=message), store.translate_errors():
        raise MlflowException("broken")


def test_a_deleted_experiment_is_named_with_the_remedy(store: Store) -> None:
    store.client.delete_experiment(store.experiment_id)
    with pytest.raises(InputError, match=r"^MLflow's experiment mnist was deleted\. Restore it: mlflow experiments"):
        Store("mnist")


@pytest.mark.parametrize("name", ["a b", "a%20b", "100%", "a#b", "a?b", "ö", "o'n"])
def test_the_store_may_be_in_any_folder(
    tmp_path: Path, empty_database: Path, result: Result, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    database = tmp_path / name / "mlflow.db"
    database.parent.mkdir()
    shutil.copy(empty_database, database)
    monkeypatch.setattr(paths, "TRACKING_DATABASE", database)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = Store("mnist")
    run_id = record_result(store, result)
    (model,) = store.client.search_logged_models([store.experiment_id])
    artifacts = database.with_name("mlartifacts")
    assert (artifacts / run_id / "artifacts/model.h5").exists()
    assert (artifacts / "models" / model.model_id / "artifacts/MLmodel").exists()
    assert store.find_complete({RESULT_TAG: result.fingerprint})


def test_the_artifacts_are_beside_the_database(
    tmp_path: Path, empty_database: Path, adhoc_result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = tmp_path / "team"
    team.mkdir()
    shutil.copy(empty_database, team / "x.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{team}/x.db")
    run_id = record_result(Store("mnist"), adhoc_result)
    assert (team / "mlartifacts" / run_id / "artifacts/model.h5").exists()


@pytest.mark.parametrize("transfer", [shutil.move, shutil.copytree])
def test_a_moved_or_copied_store_names_its_own_files(
    tmp_path: Path, no_store: Path, empty_database: Path, result: Result, monkeypatch: pytest.MonkeyPatch, transfer: Any
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    shutil.copy(empty_database, old / no_store.name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", sqlite_uri(old / no_store.name))
    store = Store("mnist")
    run_id = record_result(store, result)
    promote(result)
    transfer(old, new)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", sqlite_uri(new / no_store.name))
    moved = Store("mnist")
    run = moved.find_complete({RESULT_TAG: result.fingerprint})
    assert run is not None
    assert run.info.artifact_uri == (new / "mlartifacts" / run_id / "artifacts").as_uri()
    assert moved.client.create_run(moved.experiment_id).info.artifact_uri.startswith((new / "mlartifacts").as_uri())
    assert find_champion(moved, "mnist") == "1"
    mlflow.set_tracking_uri(moved.uri)
    images = np.zeros((1, 28, 28, 1), np.float32)
    assert mlflow.pyfunc.load_model("models:/mnist@champion").predict(images).shape == (1, 10)


def test_a_copy_of_the_database_alone_still_finds_the_files(
    store: Store, tmp_path: Path, adhoc_result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_result(store, adhoc_result)
    copy = tmp_path / "backup/mlflow.db"
    copy.parent.mkdir()
    shutil.copy(tmp_path / "mlflow.db", copy)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", sqlite_uri(copy))
    assert Store("mnist").find_complete({RESULT_TAG: adhoc_result.fingerprint})


def test_lost_files_make_a_record_incomplete_until_they_are_recorded_again(
    store: Store, tmp_path: Path, result: Result
) -> None:
    run_id = record_result(store, result)
    promote(result)
    shutil.rmtree(tmp_path / "mlartifacts")
    assert store.find_complete({RESULT_TAG: result.fingerprint}) is None
    assert is_lost(store, "mnist", "1")
    with pytest.raises(InputError, match=r"^run=sgd_32 is not in MLflow"):
        promote(result)
    assert record_result(store, result) == run_id
    assert store.find_complete({INPUT_TAG: result.input.fingerprint})
    assert promote(result, force="recorded again").version == "1"


def test_a_lost_model_is_logged_again(store: Store, tmp_path: Path, result: Result) -> None:
    record_result(store, result)
    shutil.rmtree(tmp_path / "mlartifacts/models")
    with pytest.raises(InputError, match=r"^run=sgd_32 is not in MLflow with its model"):
        promote(result)
    record_result(store, result)
    assert promote(result).version == "1"


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "The disk is full. Make room, and type the same command again.",
        ),
        (
            sqlite3.OperationalError("database or disk is full"),
            "The disk is full. Make room, and type the same command",
        ),
        (ValueError("Registered Model with name=pets not found"), "Correct the address of the model, or promote"),
        (sqlite3.OperationalError("database is locked"), "Another process writes to it. Wait for it or end it"),
        (
            sqlite3.DatabaseError("database disk image is malformed"),
            "Move it aside, then type: image-classifier backfill",
        ),
    ],
)
def test_an_error_of_the_store_names_its_remedy(store: Store, error: Exception, remedy: str) -> None:
    with pytest.raises(InputError, match=rf"{error.args[-1]}\. .*{remedy}"), store.translate_errors():
        raise MlflowException("wrapped") from error


def test_an_error_with_a_full_stop_of_its_own_has_only_one(store: Store) -> None:
    message = r"Registered model alias nope not found\. Correct the address of the model, or promote a run: "
    with pytest.raises(InputError, match=message), store.translate_errors():
        raise MlflowException("Registered model alias nope not found.")


def test_a_damaged_database_is_moved_aside(no_store: Path) -> None:
    no_store.write_bytes(b"no database" * 100)
    with pytest.raises(
        InputError, match=r"file is not a database.* Move it aside, then type: image-classifier backfill"
    ):
        Store("mnist")


@pytest.mark.parametrize(
    "variables", [{}, {"NO_PROXY": "corp"}, {"no_proxy": "corp", "NO_PROXY": ""}, {"no_proxy": "*"}]
)
def test_a_server_on_this_machine_is_reached_without_the_proxy(variables: dict[str, str]) -> None:
    program = (
        "import image_classifier.track; from requests.utils import should_bypass_proxies as direct; "
        "print(direct('http://127.0.0.1:5000', None), direct('http://localhost', None), direct('http://corp', None))"
    )
    own = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
    completed = subprocess.run(
        [sys.executable, "-c", program],
        cwd=paths.ROOT / "src",
        env={**own, "HTTP_PROXY": "http://127.0.0.1:9", **variables},
        check=True,
        capture_output=True,
        text=True,
    )
    assert completed.stdout == f"True True {bool(variables)}\n"


def _record(result: Result) -> str:
    return record_result(Store("mnist"), result)


@pytest.mark.slow
def test_processes_that_start_together_without_a_store_make_one_run(no_store: Path, adhoc_result: Result) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        run_ids = pool.map(_record, [adhoc_result] * 4, chunksize=1)
    store = Store("mnist")
    (run,) = store.find({RESULT_TAG: adhoc_result.fingerprint})
    assert set(run_ids) == {run.info.run_id}
    assert logged(store, run.info.run_id) == [(1, 0.6), (2, 0.3)]
    assert {file.name for file in no_store.parent.glob("*mlflow*")} == {"mlflow.db", "mlflow.db.lock"}


def test_a_store_in_a_folder_that_cannot_be_written_is_read_without_a_lock_file(
    no_store: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(empty_database, no_store)
    Store("mnist")
    no_store.with_name("mlflow.db.lock").unlink()
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    assert Store("mnist").find({"a": "b"}) == []
    assert not no_store.with_name("mlflow.db.lock").exists()
