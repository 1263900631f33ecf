"""Replicates: further seeds of a run."""

from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest
from helpers import CLI, EPOCHS, TEST_IMAGES, query, run, tracked_runs


@pytest.mark.slow
def test_replicates_are_trained_once_recorded_below_one_run_and_kept_for_the_comparison(project_copy: Path) -> None:
    command = (CLI, "replicate", "sgd_128", "adadelta_128")
    first = run(project_copy, *command, "--seeds", "2")
    assert "| `adadelta_128` | 2 " in first
    assert "(replicates of sgd_128, adadelta_128) holds the trials and plots" in first
    predictions = project_copy / "reports/replicates_predictions.csv"
    lines = predictions.read_text().splitlines(keepends=True)
    assert len(lines) == 5
    predictions.write_text("".join(lines[:-1]))  # as if a seed had been recorded without predictions
    again = run(project_copy, *command, "--seeds", "3")
    assert "4 are recorded already and are not run again, 2 are to be run." in again
    assert again.count("Predicting the test images: ") == 3
    assert set(lines) <= set(predictions.read_text().splitlines(keepends=True))
    kept = pd.read_csv(project_copy / "reports/replicates.csv")
    assert kept.groupby(["run", "seed"])["epoch"].max().to_dict() == {
        (name, seed): EPOCHS for name in ("adadelta_128", "sgd_128") for seed in (1, 2, 3)
    }
    last = kept[kept["epoch"] == EPOCHS].merge(pd.read_csv(predictions), on=["run", "recipe", "environment", "seed"])
    accuracies = 1 - last["mistakes"].str.split().str.len() / last["images"]
    assert accuracies.to_numpy() == pytest.approx(last["val_accuracy"].to_numpy())
    assert len(last) == 6
    environments = pd.read_csv(project_copy / "reports/replicates_environments.csv", dtype=str)
    assert environments["environment"].tolist() == kept["environment"].unique().tolist()
    assert f"tensorflow {version('tensorflow')}" in again
    parents = query(project_copy, "SELECT value, count(*) FROM tags WHERE key = 'mlflow.parentRunId' GROUP BY value")
    assert [count for _, count in parents] == [6]
    names = {name for name, _, _ in tracked_runs(project_copy)}
    assert {"replicates of sgd_128, adadelta_128", "sgd_128 seed 3", "adadelta_128 seed 1"} <= names
    assert not list((project_copy / "outputs").glob("trial_*"))
    told = run(project_copy, CLI, "compare", "sgd_128", "adadelta_128")
    assert f"On {TEST_IMAGES} test images: sgd_128 " in told
    assert "3 and 3 seeds; Welch's t test: p = " in told
    assert "for other seeds and other test images: 95% interval " in told
    run(project_copy, "dvc", "repro", "--single-item", "compare")
    page = (project_copy / "reports/comparison_mnist.md").read_text()
    assert "| 3 and 3 |" in page
    assert "| 95% interval, other images   |" in page
