"""The comparison of two runs on the command line."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers import CLI, TEST_IMAGES, run, run_ids

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("is_mlflow_run", [False, True])
def test_a_run_compared_with_itself_is_identical(repro_project: Path, is_mlflow_run: bool) -> None:
    first = run_ids(repro_project, "sgd_32")[0] if is_mlflow_run else "sgd_32"
    printed = run(repro_project, CLI, "compare", first, "sgd_32")
    assert printed.startswith("The recorded configuration, data, code and machine of the two runs are the same.\n\n")
    assert f"{first} and sgd_32 are identical: the same probabilities for all {TEST_IMAGES} test images." in printed


def test_stored_predictions_of_other_test_images_are_not_compared(project_copy: Path) -> None:
    prepared = project_copy / "data/prepared/mnist/test_labels.npy"
    labels = np.load(prepared)
    prepared.unlink()
    np.save(prepared, labels[::-1])
    printed = run(project_copy, CLI, "compare", "sgd_32", "sgd_128", fails=True)
    predictions = project_copy / "runs/mnist/sgd_32/predictions.npz"
    reason = f"{predictions} and data/prepared/ have other test images. Type: dvc repro"
    assert printed.splitlines()[-1] == f"Error: {reason}"


def test_a_run_that_does_not_exist_is_named(repro_project: Path) -> None:
    printed = run(repro_project, CLI, "compare", "sgd_32", "nowhere", fails=True)
    rows = "sgd_32, sgd_128, adadelta_128, fast"
    reason = f"nowhere is not the name of a run ({rows}) or the id of an MLflow run."
    assert printed == f"Error: {reason}\n"


def test_the_results_are_shown_with_their_reproduction(project_copy: Path) -> None:
    lock = project_copy / "dvc.lock"
    run(project_copy, "git", "commit", "--quiet", "--allow-empty", "--all", "--message", "results")
    outputs = yaml.safe_load(lock.read_text())["stages"]["train@fast"]["outs"]
    md5 = next(output["md5"] for output in outputs if output["path"].endswith("history.csv"))
    lock.write_text(lock.read_text().replace(md5, "0" * 32))
    printed = run(project_copy, CLI, "results")
    assert printed.startswith("# Pipeline runs on mnist\n")
    assert "\nsgd_32: reproduced, the same bytes as in git.\n" in printed
    assert "\nfast: other bytes than in git, " in printed


def test_the_results_of_a_run_that_is_not_evaluated_are_refused_with_the_remedy(project_copy: Path) -> None:
    lock = yaml.safe_load((project_copy / "dvc.lock").read_text())
    del lock["stages"]["evaluate@fast"]
    (project_copy / "dvc.lock").write_text(yaml.safe_dump(lock))
    printed = run(project_copy, CLI, "results", fails=True)
    assert printed.endswith("Error: dvc.lock does not have the evaluated result of fast. Make it: dvc repro\n")
