"""Sweeps as a user types them: their records, whatever happens to them."""

import shlex
import signal
from collections import Counter
from pathlib import Path

import mlflow
import pytest
from helpers import CLI, GRID, SMALL_GRID, SWEEP, artifact_folder, kill, query, run, started, wait_until, would_run
from mlflow.entities import Run

from image_classifier.files import md5


def runs(project: Path) -> list[Run]:
    client = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db")
    experiment = client.get_experiment_by_name("mnist")
    assert experiment
    return list(client.search_runs([experiment.experiment_id]))


def sweep_and_trials(tracked: list[Run]) -> tuple[Run, list[Run]]:
    """Return the run of the only sweep, and the runs of its trials."""
    (parent,) = [run for run in tracked if "sweep" in run.data.tags]
    return parent, [run for run in tracked if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]


def final_and_trials(project: Path) -> tuple[Run, list[Run]]:
    """Return the run of the retrained winner, and the runs of the trials."""
    _, children = sweep_and_trials(runs(project))
    (final,) = [run for run in children if run.info.run_name.startswith("final")]
    return final, [run for run in children if run is not final]


def has_finished_trials(project: Path, count: int) -> bool:
    if not (project / "mlflow.db").exists() or not query(project, "SELECT 1 FROM sqlite_master WHERE name = 'runs'"):
        return False
    return len(query(project, "SELECT 1 FROM runs WHERE status = 'FINISHED'")) >= count


def test_a_sweep_is_recorded_and_only_its_retrained_winner_sees_the_test_images(
    swept_project: Path, sweep_output: str
) -> None:
    parent, children = sweep_and_trials(runs(swept_project))
    kinds = Counter(run.info.run_name.partition("_")[0] for run in children)
    assert kinds == {"trial": 2, "final": 1}
    assert {run.info.status for run in [parent, *children]} == {"FINISHED"}
    artifacts = {file.name for file in artifact_folder(parent.info.artifact_uri).iterdir()}
    assert artifacts == {"importance.png", "parallel_coordinates.png", "trials.csv"}

    final, trials = final_and_trials(swept_project)
    assert {run.data.params["validation"] for run in trials} == {"held_out"}
    assert final.data.params["validation"] == "final_test"
    assert "test_accuracy" in final.data.metrics
    assert not [run for run in trials if "test_accuracy" in run.data.metrics]
    assert "Test accuracy" in sweep_output
    assert "of 83 held-out images." in sweep_output  # a sixth of 500


@pytest.mark.slow
def test_a_sweep_names_its_best_trial_and_keeps_only_the_files_of_the_winner(swept_project: Path) -> None:
    parent, _ = sweep_and_trials(runs(swept_project))
    final, trials = final_and_trials(swept_project)
    assert parent.data.metrics["best_val_accuracy"] == max(run.data.metrics["val_accuracy"] for run in trials)
    kept = [folder.name for folder in (swept_project / "outputs").iterdir() if folder.is_dir()]
    assert kept == [final.info.run_name]


@pytest.mark.slow
def test_a_dry_run_prints_the_plan_and_trains_nothing(untracked_copy: Path) -> None:
    plan = run(untracked_copy, *SWEEP, *GRID, "validation.size=50", "sweep.dry_run=true")
    assert "4 trials, grid over optimizer=sgd,adam, batch_size=64,128." in plan
    assert "4 are to be run" in plan
    assert not (untracked_copy / "outputs").exists()


@pytest.mark.slow
def test_a_sweep_that_is_repeated_trains_nothing(swept_copy: Path) -> None:
    before = runs(swept_copy)
    assert "2 are recorded already" in run(swept_copy, *SWEEP, *SMALL_GRID)
    assert len(runs(swept_copy)) == len(before)


@pytest.mark.slow
def test_trials_of_another_sweep_are_not_trained_again(swept_copy: Path) -> None:
    plan = run(swept_copy, *SWEEP, "optimizer=sgd,adadelta", "batch_size=64", "sweep.dry_run=true")
    assert "1 are recorded already" in plan


@pytest.mark.slow
def test_the_command_of_a_trial_gives_the_same_model_and_no_second_record(swept_copy: Path) -> None:
    before = runs(swept_copy)
    _, (trial, *_) = final_and_trials(swept_copy)
    run(swept_copy, *shlex.split(trial.data.tags["mlflow.source.name"]))
    model = swept_copy / "outputs" / trial.info.run_name / "model.h5"
    assert md5(model.read_bytes()) == trial.data.tags["dvc.model.h5"]
    assert len(runs(swept_copy)) == len(before)


@pytest.mark.slow
def test_the_winner_of_a_sweep_becomes_a_row_of_params_yaml(swept_copy: Path) -> None:
    parent, _ = sweep_and_trials(runs(swept_copy))
    run(swept_copy, CLI, "add-run", parent.data.tags["sweep"], "best")
    assert "best: {data: mnist, model: cnn, optimizer: " in (swept_copy / "params.yaml").read_text()
    assert "train@best" in would_run(swept_copy, "train@best")
    assert run(swept_copy, CLI, "doctor", "--config-only") == "conf/ and params.yaml are valid.\n"


@pytest.mark.slow
def test_a_killed_sweep_resumes_without_repeating_or_losing_a_trial(untracked_copy: Path) -> None:
    with started(untracked_copy, *SWEEP, *GRID) as process:
        wait_until(lambda: has_finished_trials(untracked_copy, 1), process)
        kill(process)
    before = {run.info.run_id: run.info.end_time for run in runs(untracked_copy) if run.info.status == "FINISHED"}
    run(untracked_copy, *SWEEP, *GRID)
    parent, trials = sweep_and_trials(runs(untracked_copy))
    assert len(runs(untracked_copy)) == 5
    assert Counter(run.info.status for run in trials) == {"FINISHED": 4}
    assert parent.data.metrics["complete"] == 4
    assert before.items() <= {run.info.run_id: run.info.end_time for run in trials}.items()


@pytest.mark.slow
def test_an_interrupted_sweep_keeps_its_finished_trials_and_prints_how_it_resumes(untracked_copy: Path) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored, and children inherit it
    with started(untracked_copy, *SWEEP, *GRID) as process:
        wait_until(lambda: has_finished_trials(untracked_copy, 1), process)
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted. The same command resumes." in printed
    assert "Traceback" not in printed
    parent, trials = sweep_and_trials(runs(untracked_copy))
    assert parent.info.status == "KILLED"
    assert {run.info.status for run in trials} <= {"FINISHED", "KILLED"}
    assert "FINISHED" in {run.info.status for run in trials}


@pytest.mark.slow
def test_a_trial_that_diverges_is_marked_and_does_not_end_the_sweep(untracked_copy: Path) -> None:
    rates = "optimizer.learning_rate=1e18,1e19,0.1"
    printed = run(untracked_copy, *SWEEP, rates, "sweep.max_failures=2")
    assert "1 complete, 2 failed" in printed
    _, trials = sweep_and_trials(runs(untracked_copy))
    failed = [run for run in trials if run.info.status == "FAILED"]
    assert [run.data.tags["trial.state"] for run in failed] == ["failed", "failed"]
    assert all("Lower optimizer.learning_rate." in run.data.tags["trial.reason"] for run in failed)
    again = run(untracked_copy, *SWEEP, rates, "sweep.max_failures=0")
    assert "3 are recorded already" in again  # and the failures of the first time do not count again


@pytest.mark.slow
def test_too_many_failures_end_a_sweep(untracked_copy: Path) -> None:
    rates = "optimizer.learning_rate=1e17,1e18,1e19,0.1,0.2"
    printed = run(untracked_copy, *SWEEP, rates, "sweep.max_failures=0", fails=True)
    assert "more than sweep.max_failures=0." in printed
    parent, trials = sweep_and_trials(runs(untracked_copy))
    assert parent.info.status == "FAILED"
    assert len(trials) < 5
