"""The model registry: versions, their runs, and the MD5s of their files."""

from pathlib import Path

import pytest
from tracking_helpers import model_folder, promote

from image_classifier.errors import InputError
from image_classifier.provenance.result import Result
from image_classifier.track.registry import CHAMPION, check_files, find_champion, find_origin, load_address
from image_classifier.track.store import Store
from image_classifier.track.writer import record_result


@pytest.mark.usefixtures("store", "small_models")
def test_a_version_has_its_run(result: Result) -> None:
    store = Store(result.data)
    run_id = record_result(store, result)
    promote(result)
    assert find_champion(store, "mnist") == "1"
    assert find_origin(store, "mnist", "1") == (run_id, "sgd_32")
    assert find_champion(store, "letters") is None


@pytest.fixture
def files(store: Store, result: Result, small_models: None) -> Path:  # noqa: ARG001
    """The files of the champion."""
    record_result(store, result)
    promote(result)
    return model_folder(store)


@pytest.mark.parametrize(
    ("name", "content"),
    [("data/model.keras", b"other"), ("MLmodel", b""), ("data/custom_objects.cloudpickle", b"code")],
)
def test_a_changed_or_added_file_of_a_promoted_version_is_refused_before_it_is_loaded(
    store: Store, files: Path, name: str, content: bytes
) -> None:
    check_files(store, "mnist", "1")
    (files / name).write_bytes(content)
    message = (
        rf"^{name} of version 1 of mnist is damaged: its MD5 is not the recorded one\. "
        r"Return to the previous champion: image-classifier promote --undo --data mnist\."
    )
    for address in (f"models:/mnist@{CHAMPION}", "models:/mnist/1"):
        with pytest.raises(InputError, match=message):
            load_address(store, address)


def test_a_removed_file_of_a_promoted_version_is_named(store: Store, files: Path) -> None:
    (files / "data/model.keras").unlink()
    with pytest.raises(InputError, match=r"^data/model\.keras of version 1 of mnist is damaged"):
        check_files(store, "mnist", "1")


def test_the_file_that_mlflow_adds_when_it_loads_a_model_is_no_damage(store: Store, files: Path) -> None:
    (files / "registered_model_meta").write_text("model_name: mnist")
    check_files(store, "mnist", "1")


def test_lost_files_are_named_with_their_place(store: Store, files: Path) -> None:
    (files / "MLmodel").unlink()
    with pytest.raises(InputError, match=rf"^The files of version 1 of mnist are lost \({files.as_uri()}\)"):
        load_address(store, f"models:/mnist@{CHAMPION}")


def test_a_version_without_recorded_files_is_not_checked(store: Store, files: Path) -> None:
    store.client.delete_model_version_tag("mnist", "1", "files.md5")
    (files / "data/model.keras").write_bytes(b"other")
    check_files(store, "mnist", "1")
