"""Trainings and pipelines that are killed: they resume with the same bits, and MLflow holds each result once."""

import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from helpers import (
    RUNS,
    STAGES,
    TRAIN,
    environment,
    forget_results,
    kill,
    pipeline_results,
    run,
    started,
    tracked_runs,
    wait_for_line,
    wait_until,
    without_times,
)

from image_classifier.files import file_hashes

KILLS = 5  # in each of two tests with two seeds
OFTEN = ("training.steps_per_execution=2", "training.checkpoint_steps=2")
LONG_TRAINING = (*TRAIN, "optimizer=adadelta", "batch_size=32", "epochs=10", *OFTEN)


def output_hashes(project: Path, name: str) -> dict[str, str]:
    return file_hashes(project / "outputs" / name, ["history.csv", "model.h5"])


def has_leftover_locks(project: Path) -> bool:
    folders = (project / "checkpoints", project / ".dvc/tmp/locks")
    return any(file for folder in folders if folder.exists() for file in folder.iterdir())


def test_a_pipeline_that_is_killed_in_train_evaluate_and_track_records_the_same_result_once(
    repro_project: Path, project_copy: Path
) -> None:
    forget_results(project_copy, "sgd_32")
    repro = ("dvc", "repro", "track@sgd_32")
    with started(project_copy, *repro) as process:
        wait_until((project_copy / "checkpoints/sgd_32.checkpoint").exists, process)
        kill(process)
    with started(project_copy, *repro) as process:
        printed = wait_for_line(process, "Running stage 'evaluate@sgd_32'")
        time.sleep(2)
        kill(process)
    assert "Resuming after " in printed
    with started(project_copy, *repro) as process:
        printed = wait_for_line(process, "Running stage 'track@sgd_32'")
        time.sleep(4)
        kill(process)
    assert "Epoch " not in printed
    run(project_copy, *repro)
    assert [(name, status) for name, status, _ in tracked_runs(project_copy)] == [("sgd_32", "FINISHED")]
    ((fingerprint, values),) = pipeline_results(project_copy).items()
    assert without_times(values) == without_times(pipeline_results(repro_project)[fingerprint])
    locks = (yaml.safe_load((project / "dvc.lock").read_text()) for project in (repro_project, project_copy))
    assert next(locks) == next(locks)
    assert not has_leftover_locks(project_copy)


@pytest.mark.slow
def test_an_interrupted_training_leaves_only_a_run_that_is_marked_as_killed(project_copy: Path) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored, and children inherit it
    with started(project_copy, *TRAIN, "epochs=300", "run=interrupted") as process:
        wait_for_line(process, "Epoch 2/")
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        rest = process.stdout.read()
    assert process.returncode == 130
    assert rest.splitlines()[-1] == "Interrupted. The same command resumes."
    assert not (project_copy / "outputs/interrupted").exists()
    assert [status for name, status, _ in tracked_runs(project_copy) if name == "interrupted"] == ["KILLED"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_kills_at_random_moments_of_all_stages_leave_exactly_one_complete_run_of_each(
    repro_project: Path, project_copy: Path, seed: int
) -> None:
    forget_results(project_copy)
    moments, killed = random.Random(seed), 0
    for _ in range(3 * KILLS):
        if killed == KILLS:
            break
        with started(project_copy, "dvc", "repro") as process:
            assert process.stdout is not None
            begins = f"Running stage '{STAGES[(killed + seed) % len(STAGES)]}"
            begun = any(line.startswith(begins) for line in process.stdout)
            if begun:
                time.sleep(moments.uniform(0, 3))
            was_alive = begun and process.poll() is None
            kill(process)
        if was_alive:
            killed += 1
        else:
            forget_results(project_copy)  # this stage was complete already
            (project_copy / ".dvc/tmp/rwlock").unlink(missing_ok=True)  # it may name processes of other programs
    assert killed == KILLS
    status = subprocess.run(
        ["dvc", "status"], cwd=project_copy, env=environment(project_copy), capture_output=True, text=True, check=False
    )
    if "dvc.lock" in status.stdout + status.stderr:  # DVC was killed while it wrote it; the README has the remedy
        run(project_copy, "git", "checkout", "dvc.lock")
    run(project_copy, "dvc", "repro")
    statuses = sorted((name, status) for name, status, _ in tracked_runs(project_copy))
    assert statuses == sorted((name, "FINISHED") for name in RUNS)
    uninterrupted, complete = pipeline_results(repro_project), pipeline_results(project_copy)
    assert len(complete) == len(RUNS)
    for fingerprint, values in complete.items():
        assert without_times(values) == without_times(uninterrupted[fingerprint])


def kill_after(project: Path, seconds: float, *command: str) -> tuple[bool, str]:
    """Start a command and kill it unless it is faster; return whether it was killed, and its output."""
    with subprocess.Popen(
        command,
        cwd=project,
        env=environment(project),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        printed = process.communicate()[0]
    assert process.returncode in (0, -signal.SIGKILL), printed
    return process.returncode != 0, printed


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_training_that_is_killed_again_and_again_ends_with_the_same_bytes(project_copy: Path, seed: int) -> None:
    began = time.perf_counter()
    run(project_copy, *LONG_TRAINING, "run=uninterrupted")
    expected, duration = output_hashes(project_copy, "uninterrupted"), time.perf_counter() - began
    chance, hashes, kills, resumed = random.Random(seed), [], 0, 0
    checkpoint, folder = project_copy / "checkpoints/killed.checkpoint", project_copy / "outputs/killed"
    while kills < KILLS or checkpoint.exists():
        seconds = chance.uniform(0.25, 1.1) * duration if kills < KILLS else 600
        killed, printed = kill_after(project_copy, seconds, *LONG_TRAINING, "run=killed")
        kills += killed
        resumed += "Resuming after" in printed
        if (folder / "model.h5").exists() and not checkpoint.exists():  # complete, whether it was killed or not
            hashes.append(output_hashes(project_copy, "killed"))
            shutil.rmtree(folder)
    assert resumed
    assert hashes
    assert hashes == [expected] * len(hashes)


@pytest.fixture
def killed_training(project_copy: Path) -> Path:
    """Checkpoint of a training that was killed."""
    checkpoint = project_copy / "checkpoints/killed.checkpoint"
    with started(project_copy, *LONG_TRAINING, "run=killed", stdout=subprocess.DEVNULL) as process:
        wait_until(checkpoint.exists, process)
    return checkpoint


@pytest.mark.slow
def test_a_damaged_checkpoint_is_named_and_the_training_starts_over(project_copy: Path, killed_training: Path) -> None:
    killed_training.write_bytes(killed_training.read_bytes()[:100_000])
    printed = run(project_copy, *LONG_TRAINING, "run=killed")
    assert f"Warning: {killed_training} is damaged. Training starts over." in printed
    assert "Resuming after" not in printed
    assert (project_copy / "outputs/killed/model.h5").exists()
    assert not has_leftover_locks(project_copy)


@pytest.mark.slow
def test_a_checkpoint_of_another_configuration_is_named_and_the_training_starts_over(
    project_copy: Path, killed_training: Path
) -> None:
    printed = run(project_copy, *LONG_TRAINING, "run=killed", "optimizer.rho=0.9")
    assert f"Warning: {killed_training} belongs to a training with another configuration. " in printed
    assert "Training starts over." in printed
    assert "Resuming after" not in printed


@pytest.mark.slow
def test_a_training_that_is_repeated_with_a_variable_that_decides_bits_starts_over(
    project_copy: Path, killed_training: Path
) -> None:
    variables = {**environment(project_copy), "TF_ENABLE_ONEDNN_OPTS": "0"}
    with started(project_copy, *LONG_TRAINING, "run=killed", env=variables) as process:
        printed = wait_for_line(process, "Epoch 1/")
    reason = f"Warning: {killed_training} belongs to a training with another variables. Training starts over."
    assert reason in printed.splitlines()
    assert "Resuming after" not in printed


@pytest.mark.slow
def test_a_run_that_another_process_trains_is_refused(project_copy: Path) -> None:
    command = (*LONG_TRAINING, "run=taken", "epochs=300")
    with started(project_copy, *command, stdout=subprocess.DEVNULL) as process:
        wait_until((project_copy / "checkpoints/taken.checkpoint").exists, process)
        printed = run(project_copy, *command, fails=True)
    assert printed == "Error: run=taken is being trained by another process. Wait for it, or choose another run=…\n"


@pytest.mark.slow
def test_a_checkpoint_that_cannot_be_written_does_not_end_the_training(project_copy: Path) -> None:
    (project_copy / "checkpoints").rmdir()
    (project_copy / "checkpoints").symlink_to(project_copy / "a disk that is not mounted")
    printed = run(project_copy, *LONG_TRAINING, "run=full", "epochs=1")
    assert "Warning: no checkpoint (" in printed
    assert (project_copy / "outputs/full/model.h5").exists()
