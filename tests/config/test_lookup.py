"""Data sets and runs are found by name, and prepared data that does not fit its configuration is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from image_classifier import paths
from image_classifier.config.lookup import check_prepared_data, find_run_files, find_source, select_runs
from image_classifier.config.schema import Data, Params, Row, validate
from image_classifier.dataset import DESCRIPTION
from image_classifier.errors import InputError

ROW = {"data": "mnist", "model": "cnn", "optimizer": "sgd", "batch_size": 32, "epochs": 1, "training": "default"}


def test_the_runs_of_a_data_set_are_selected() -> None:
    table = {name: Row.model_validate({**ROW, "data": name}) for name in ("mnist", "pets")}
    assert list(select_runs(table, "pets")) == ["pets"]
    message = r"^data=cars: no row of params\.yaml is trained on it\. Choose one of: mnist, pets\.$"
    with pytest.raises(InputError, match=message):
        select_runs(table, "cars")


@pytest.fixture
def own_datasets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A project whose params.yaml has data sets at a relative and at an absolute path."""
    sources = {"pets": "data/pets", "birds": f"{tmp_path}/birds.csv"}
    runs = {name: {**ROW, "data": name} for name in sources}
    table = validate(Params, {"datasets": {name: {"path": path} for name, path in sources.items()}, "runs": runs})
    monkeypatch.setattr("image_classifier.config.lookup.load_params", lambda: table)
    monkeypatch.setattr(paths, "ROOT", tmp_path / "project")
    return tmp_path


@pytest.mark.parametrize(("data", "path"), [("pets", "project/data/pets"), ("birds", "birds.csv")])
def test_the_path_of_a_data_set_is_relative_to_the_project(own_datasets: Path, data: str, path: str) -> None:
    assert find_source(data) == own_datasets / path


@pytest.mark.usefixtures("own_datasets")
def test_a_data_set_without_a_path_is_named_with_the_choices() -> None:
    with pytest.raises(InputError, match=r"^data=mnist is not a data set of params\.yaml\. .*: pets, birds\.$"):
        find_source("mnist")


@pytest.fixture
def prepared(data_config: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Data:
    """A data set in three classes, of which conf/ asks for 6 training and 4 test images, and its prepared files."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    data = data_config.model_copy(update={"classes": ["a", "b", "c"], "train_examples": 6, "test_examples": 4})
    folder = paths.prepared_data(data.name)
    folder.mkdir(parents=True)
    for part, count in (("train", 6), ("test", 4)):
        np.save(folder / f"{part}_images.npy", np.zeros((count, *data.image_shape), np.uint8))
        np.save(folder / f"{part}_labels.npy", np.zeros(count, np.uint8))
    (folder / DESCRIPTION).write_text(json.dumps({"classes": data.classes}))
    return data


def test_prepared_data_with_the_values_in_conf_are_accepted(prepared: Data) -> None:
    check_prepared_data(prepared)
    check_prepared_data(prepared.model_copy(update={"train_examples": None, "test_examples": None}))


@pytest.mark.parametrize("part", ["train", "test"])
def test_prepared_data_with_other_numbers_of_images_are_refused(prepared: Data, part: str) -> None:
    np.save(paths.prepared_data("mnist") / f"{part}_labels.npy", np.zeros(5, np.uint8))
    wanted = {"train": 6, "test": 4}[part]
    with pytest.raises(InputError) as raised:
        check_prepared_data(prepared)
    remedy = f"Write {part}_examples: {wanted} into conf/data/mnist.yaml, then make it again: dvc repro prepare@mnist"
    assert str(raised.value) == f"data.{part}_examples={wanted}: data/prepared/mnist has 5. {remedy}"


@pytest.mark.parametrize(
    "changes",
    [{"classes": ["a", "b", "d"]}, {"classes": ["b", "a", "c"]}, {"image_size": [28, 32]}, {"color": "rgb"}],
    ids=["name", "order", "size", "color"],
)
def test_prepared_data_with_other_classes_or_another_size_are_refused(prepared: Data, changes: dict[str, Any]) -> None:
    with pytest.raises(InputError) as raised:
        check_prepared_data(prepared.model_copy(update=changes))
    assert str(raised.value) == (
        "data/prepared/mnist was prepared with other classes, or another image size, than conf/data/mnist.yaml has. "
        "Make it again: dvc repro prepare@mnist"
    )


def test_missing_prepared_data_are_named(prepared: Data) -> None:
    paths.prepared_data("mnist").rename(paths.prepared_data("pets"))
    with pytest.raises(FileNotFoundError, match="data/prepared/mnist"):
        check_prepared_data(prepared)


def test_a_missing_data_set_that_dvc_repro_would_not_make_is_refused(prepared: Data) -> None:
    with pytest.raises(InputError, match=r"^data=pets is not a data set of params\.yaml\. Choose one of: mnist\.$"):
        check_prepared_data(prepared.model_copy(update={"name": "pets"}))


def test_a_run_is_found_as_a_row_or_else_as_a_finished_ad_hoc_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    for run in ("sgd_32", "mine", "interrupted"):
        (tmp_path / "outputs" / run).mkdir(parents=True)
        (tmp_path / "outputs" / run / "model.h5").touch()
    (tmp_path / "checkpoints").mkdir()
    paths.checkpoint("interrupted").touch()
    table = {"sgd_32": Row.model_validate(ROW)}
    assert find_run_files("sgd_32", table).directory == tmp_path / "runs/mnist/sgd_32"
    assert find_run_files("mine", table).directory == tmp_path / "outputs/mine"
    message = r"^run=interrupted is not a row of params\.yaml or a trained run in outputs/\. .*: sgd_32, mine\.$"
    with pytest.raises(InputError, match=message):
        find_run_files("interrupted", table)
