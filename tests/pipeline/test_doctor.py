"""The checks of a whole project."""

from pathlib import Path

import pytest
from helpers import CLI, replace, run


@pytest.mark.slow
def test_the_doctor_finds_no_problem_after_a_repro(project_copy: Path) -> None:
    assert run(project_copy, CLI, "doctor") == "conf/, params.yaml, dvc.lock, files and MLflow agree.\n"


@pytest.mark.slow
def test_the_doctor_names_each_disagreement_and_its_fix(project_copy: Path) -> None:
    replace(project_copy / "conf/optimizer/adadelta.yaml", "rho: 0.95", "rho: 0.9")
    (project_copy / "runs/mnist/sgd_32/model.h5").unlink()
    (project_copy / "runs/mnist/removed").mkdir()
    (project_copy / "mlflow.db").unlink()
    printed = run(project_copy, CLI, "doctor", fails=True)
    adadelta = "train@adadelta_128 does not match dvc.lock: conf/optimizer/adadelta.yaml: rho modified."
    assert f"{adadelta}\n    Fix: dvc repro\n" in printed
    assert "train@sgd_32 does not match dvc.lock: runs/mnist/sgd_32/model.h5 deleted.\n    Fix: dvc repro\n" in printed
    assert "runs/mnist/removed/ is not a row of params.yaml.\n    Fix: rm -r runs/mnist/removed\n" in printed
    assert "MLflow does not have sgd_32 of the workspace.\n    Fix: image-classifier backfill\n" in printed


@pytest.mark.slow
def test_the_doctor_names_an_unknown_optimizer(project_copy: Path) -> None:
    replace(project_copy / "params.yaml", "optimizer: adadelta", "optimizer: adadetla")
    assert "Unknown optimizer 'adadetla'" in run(project_copy, CLI, "doctor", fails=True)
