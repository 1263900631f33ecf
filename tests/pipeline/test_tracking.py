"""Runs in MLflow, whatever happens to the pipeline, the cache or the tracker."""

import json
from pathlib import Path

import pytest
import yaml
from helpers import (
    CLI,
    PYTHON,
    RUNS,
    TRAIN,
    artifact_folder,
    pipeline_results,
    query,
    replace,
    run,
    run_ids,
    tracked_runs,
    without_times,
    would_run,
)


@pytest.mark.slow
def test_a_deleted_store_is_filled_with_the_same_runs_without_training(project_copy: Path) -> None:
    before = pipeline_results(project_copy)
    (project_copy / "mlflow.db").unlink()
    planned = run(project_copy, CLI, "backfill", "--dry-run")
    assert not (project_copy / "mlflow.db").exists()
    printed = run(project_copy, CLI, "backfill")
    assert "Epoch" not in printed
    after = pipeline_results(project_copy)
    assert len(after) == planned.count("Would record") == printed.count("Recorded ") == len(RUNS)
    assert after == before
    assert "MLflow lacks 0 of them." in run(project_copy, CLI, "backfill")


@pytest.mark.slow
def test_a_fresh_clone_that_repeats_the_results_of_dvc_lock_records_them(repro_project: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "--quiet", str(repro_project), str(clone))
    run(clone, "dvc", "repro")
    assert run(clone, "git", "status", "--porcelain") == ""
    statuses = [(name, status) for name, status, _ in tracked_runs(clone)]
    assert sorted(statuses) == sorted((name, "FINISHED") for name in RUNS)


@pytest.mark.slow
def test_a_fresh_clone_has_the_same_runs_after_dvc_pull_and_backfill(project_copy: Path, tmp_path: Path) -> None:
    clone, remote = (
        tmp_path / "clone",
        ("dvc", "remote", "add", "--default", "--local", "team", str(tmp_path / "remote")),
    )
    run(project_copy, *remote)
    run(project_copy, "dvc", "push")
    run(project_copy, "git", "clone", "--quiet", str(project_copy), str(clone))
    assert "Warning: sgd_32 of the workspace is in no cache or remote." in run(clone, CLI, "backfill")
    assert not tracked_runs(clone)
    run(clone, *remote)
    run(clone, "dvc", "pull")
    run(clone, CLI, "backfill")
    pulled, original = pipeline_results(clone), pipeline_results(project_copy)
    assert len(pulled) == len(RUNS)
    for fingerprint, values in pulled.items():  # only the original has run_metadata/, with the durations
        assert values == without_times(original[fingerprint])


@pytest.mark.slow
def test_results_that_are_older_than_their_calibration_are_recorded_without_it(untracked_copy: Path) -> None:
    lock = untracked_copy / "dvc.lock"
    locked = yaml.safe_load(lock.read_text())
    for stage in locked["stages"].values():
        stage["outs"] = [out for out in stage["outs"] if not out["path"].endswith("calibration.json")]
    lock.write_text(yaml.safe_dump(locked))
    for file in untracked_copy.glob("runs/mnist/*/calibration.json"):
        file.unlink()
    assert run(untracked_copy, CLI, "backfill").count("Recorded ") == len(RUNS)
    for values in pipeline_results(untracked_copy).values():
        assert "metrics.test_accuracy.0" in values
        assert "metrics.test_brier_score.0" not in values


@pytest.mark.slow
def test_an_unreachable_tracker_stops_no_training_and_the_next_repro_records_it(project_copy: Path) -> None:
    before = tracked_runs(project_copy)
    replace(project_copy / "conf/optimizer/sgd.yaml", "learning_rate: 0.01", "learning_rate: 0.02")
    printed = run(project_copy, "dvc", "repro", fails=True, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    for name in ("sgd_32", "sgd_128"):
        assert f"train: runs/mnist/{name}/ after " in printed
    assert printed.count("The training is not affected.") == 2
    assert "Running stage 'compare@mnist'" in printed
    assert "Error: MLflow at http://127.0.0.1:9: " in printed
    assert tracked_runs(project_copy) == before
    assert "Epoch 1/" not in run(project_copy, "dvc", "repro")
    new = [row for row in tracked_runs(project_copy) if row not in before]
    assert sorted((name, status) for name, status, _ in new) == [("sgd_128", "FINISHED"), ("sgd_32", "FINISHED")]


@pytest.mark.slow
def test_an_ad_hoc_run_is_recorded_and_stays_out_of_dvc(project_copy: Path) -> None:
    before = tracked_runs(project_copy)
    printed = run(project_copy, *TRAIN, "optimizer=adam", "batch_size=50", "epochs=1", "run=mine")
    assert "train: outputs/mine/ after 1 epochs in " in printed
    made = {file.name for file in (project_copy / "outputs/mine").iterdir()}
    assert made == {"config.yaml", "history.csv", "model.h5"}
    ((name, status, _),) = [row for row in tracked_runs(project_copy) if row not in before]
    assert (name, status) == ("mine", "FINISHED")
    assert "Data and pipelines are up to date." in run(project_copy, "dvc", "repro")


@pytest.mark.slow
def test_an_ad_hoc_run_is_promoted_evaluated_and_becomes_a_row(project_copy: Path) -> None:
    values = ("optimizer=adam", "optimizer.learning_rate=0.002", "training.seed=7")
    run(project_copy, *TRAIN, *values, "batch_size=50", "epochs=1", "run=mine")
    assert run(project_copy, CLI, "promote", "mine").startswith("mnist@champion is now version 1 (mine).")

    run(project_copy, *PYTHON, "pipelines.evaluate", "run=mine")
    run(project_copy, *PYTHON, "pipelines.track", "run=mine")
    (run_id,) = run_ids(project_copy, "mine")
    statement = "SELECT value FROM latest_metrics WHERE run_uuid = ? AND key = 'test_accuracy'"
    ((accuracy,),) = query(project_copy, statement, run_id)
    assert accuracy == json.loads((project_copy / "outputs/mine/metrics.json").read_text())["test_accuracy"]
    ((artifacts,),) = query(project_copy, "SELECT artifact_uri FROM runs WHERE run_uuid = ?", run_id)
    assert {"predictions.npz", "plots"} < {file.name for file in artifact_folder(artifacts).iterdir()}

    run(project_copy, CLI, "add-run", "mine", "tuned")
    assert run(project_copy, CLI, "doctor", "--config-only") == "conf/ and params.yaml are valid.\n"
    assert "train@tuned" in would_run(project_copy, "train@tuned")
