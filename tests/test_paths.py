"""Paths that depend on the environment, and the folder of an ad hoc run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from image_classifier import paths
from image_classifier.errors import InputError


@pytest.mark.parametrize("file", ["model.h5", "metrics.json"])
def test_a_training_does_not_mix_its_files_with_results_of_another(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    folder = paths.new_adhoc_run("mine").directory
    folder.mkdir(parents=True)
    (folder / file).touch()
    with pytest.raises(InputError, match=r"^outputs/mine/ has results already\. Choose another run=…, or remove"):
        paths.new_adhoc_run("mine")


@pytest.mark.parametrize("variable", ["", "/nonexistent", str(paths.ROOT), str(paths.ROOT.parent)])
def test_a_foreign_dvc_root_does_not_move_the_record(variable: str) -> None:
    program = "from image_classifier import paths; print(paths.DVC_ROOT == paths.ROOT)"
    environment = {**os.environ, "DVC_ROOT": variable, "PYTHONPATH": str(paths.ROOT / "src")}
    assert subprocess.check_output([sys.executable, "-c", program], env=environment, text=True) == "True\n"


def test_a_queued_experiment_records_in_the_folder_that_dvc_root_names(tmp_path: Path) -> None:
    package = tmp_path / ".dvc/tmp/exps/tmp1/src/image_classifier"
    package.mkdir(parents=True)
    for name in ("__init__.py", "paths.py", "errors.py"):
        (package / name).write_bytes((paths.ROOT / "src/image_classifier" / name).read_bytes())
    program = "from image_classifier import paths; print(paths.DVC_ROOT)"
    environment = {**os.environ, "DVC_ROOT": str(tmp_path), "PYTHONPATH": str(package.parent)}
    assert subprocess.check_output([sys.executable, "-c", program], env=environment, text=True) == f"{tmp_path}\n"


def test_plots_of_a_pipeline_run_are_outside_of_its_folder_and_those_of_an_ad_hoc_run_in_it(tmp_path: Path) -> None:
    pipeline, adhoc = paths.pipeline_run("mnist", "a", tmp_path), paths.adhoc_run("b")
    assert (pipeline.model, pipeline.plot("c")) == (
        tmp_path / "runs/mnist/a/model.h5",
        tmp_path / "plots/mnist/a/c.png",
    )
    assert adhoc.plot("c") == adhoc.directory / "plots/c.png"


def test_a_run_in_another_copy_of_the_project_is_a_pipeline_run_or_an_ad_hoc_run(tmp_path: Path) -> None:
    assert paths.trained_run(tmp_path, "mnist", "a").directory == tmp_path / "outputs/a"
    (tmp_path / "runs/mnist/a").mkdir(parents=True)
    (tmp_path / "runs/mnist/a/model.h5").touch()
    assert paths.trained_run(tmp_path, "mnist", "a").plot("c") == tmp_path / "plots/mnist/a/c.png"


def test_a_run_of_another_data_set_than_its_row_is_a_leftover(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    for folder in ("runs/mnist/a", "runs/mnist/b", "runs/pets/a"):
        (tmp_path / folder).mkdir(parents=True)
    assert paths.leftover_runs([("mnist", "b"), ("pets", "a")]) == ["runs/mnist/a"]


def test_a_file_in_place_of_outputs_is_found_before_a_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    (tmp_path / "outputs").touch()
    with pytest.raises(FileExistsError, match="outputs"):
        paths.new_adhoc_run("a")
