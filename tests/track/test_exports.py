"""Logging of exported models to the run of their model."""

from dataclasses import replace
from pathlib import Path

import pytest

from image_classifier.config.compose import load_params
from image_classifier.provenance.result import Result
from image_classifier.track import reader
from image_classifier.track.exports import log_error_page, log_export
from image_classifier.track.store import Store
from image_classifier.track.writer import record_result


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an exported SavedModel."""
    folder = tmp_path / "export"
    (folder / "saved_model").mkdir(parents=True)
    (folder / "saved_model/saved_model.pb").write_text("first")
    (folder / "proof.json").write_text("{}")
    return folder


def test_an_export_is_logged_to_the_run_of_its_model_and_replaces_an_earlier_one(
    any_store: Store, result: Result, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "read_result", {"sgd_32": result}.__getitem__)
    monkeypatch.setattr(reader, "Store", lambda _experiment: any_store)
    run_id = record_result(any_store, result)
    for content in ("first", "second"):
        (folder / "saved_model/saved_model.pb").write_text(content)
        for run in ("sgd_32", run_id):
            assert log_export(run, load_params(), folder, "saved_model") == run_id
    listed = any_store.client.list_artifacts(run_id, "exports/saved_model")
    assert [file.path for file in listed] == ["exports/saved_model/proof.json", "exports/saved_model/saved_model"]
    local = any_store.client.download_artifacts(run_id, "exports/saved_model/saved_model/saved_model.pb")
    assert Path(local).read_text() == "second"


def test_an_export_of_a_run_that_mlflow_lacks_is_not_logged(
    store: Store, result: Result, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "read_result", {"sgd_32": result}.__getitem__)
    assert log_export("sgd_32", load_params(), folder, "onnx") is None
    assert not store.find({})


def test_the_page_of_errors_is_logged_to_the_runs_that_mlflow_has(
    store: Store, result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = replace(result, outputs={**result.outputs, "model.h5": "of no recorded run"})
    monkeypatch.setattr(reader, "read_result", {"sgd_32": result, "fast": missing}.__getitem__)
    run_id = record_result(store, result)
    page = tmp_path / "errors_mnist.html"
    for content in ("first", "second"):
        page.write_text(content)
        assert log_error_page(["sgd_32", "fast"], load_params(), page) == ["sgd_32"]
    assert Path(store.client.download_artifacts(run_id, page.name)).read_text() == "second"
