"""The report on a change of params.yaml, after `dvc repro` and a commit."""

from pathlib import Path

import pytest
from helpers import CLI, RUNS, commit, replace, run

pytestmark = pytest.mark.slow


def test_a_change_is_compared_on_the_same_test_images_before_and_after_its_commit(project_copy: Path) -> None:
    row = "sgd_32: {data: mnist, model: cnn, optimizer: sgd, batch_size: "
    replace(project_copy / "params.yaml", f"{row}32", f"{row}16")
    run(project_copy, "dvc", "repro", "compare")
    printed = run(project_copy, CLI, "report", "--base", "HEAD")
    assert "| `params.yaml: runs.sgd_32.batch_size` | `32`     | `16`    |" in printed
    assert "| `train@sgd_32`" in printed
    assert printed.count("unchanged: the same bytes") == len(RUNS) - 1
    assert "exact McNemar test" in printed
    assert "Not paired" not in printed
    commit(project_copy)
    committed = run(project_copy, CLI, "report", "--base", "HEAD~1")
    assert committed == printed.replace("`HEAD`", "`HEAD~1`")
    unchanged = run(project_copy, CLI, "report", "--base", "HEAD")
    assert unchanged.startswith("Configuration, code and results are the same in `HEAD` (commit ")


def test_a_revision_without_results_ends_with_one_line(repro_project: Path) -> None:
    printed = run(repro_project, CLI, "report", "--base", "HEAD~1", fails=True)
    assert printed == "Error: HEAD~1 has no dvc.lock, so its results are unknown. Choose another --base.\n"
