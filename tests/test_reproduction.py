"""Whether a number can be had again: after kills, from the record, and if not, whether it is said why."""

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from project import ENVIRONMENT, commit, query, replace, run

from mnist_cnn.dataset import read_arrays
from mnist_cnn.verification import md5s

KILLS = 20
PYTHON = (sys.executable, "-m")
OFTEN = ("training.steps_per_execution=2", "training.checkpoint_steps=2")
TRAIN = (*PYTHON, "pipelines.train", "optimizer=adadelta", "batch_size=128", "epochs=25", *OFTEN)


def made(project: Path, name: str) -> dict[str, str]:
    return md5s(project / "outputs" / name, ["history.csv", "model.h5"])


@pytest.fixture(scope="module")
def uninterrupted(finished: Path) -> tuple[dict[str, str], float]:
    """Hashes of what a training makes that nothing interrupts, and the seconds that it takes."""
    began = time.perf_counter()
    run(finished, *TRAIN, "run=uninterrupted")
    return made(finished, "uninterrupted"), time.perf_counter() - began


def kill_after(project: Path, seconds: float, *command: str) -> tuple[bool, str]:
    """Start a command and kill it, unless it is faster; tell whether it was killed, and what it printed."""
    with subprocess.Popen(
        command, cwd=project, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        printed = process.communicate()[0]
    assert process.returncode in (0, -signal.SIGKILL), printed
    return process.returncode != 0, printed


def await_checkpoint(process: subprocess.Popen[bytes], file: Path) -> None:
    while not file.exists():
        assert process.poll() is None
        time.sleep(0.05)


def test_a_training_that_is_killed_again_and_again_ends_with_the_same_bytes(
    finished: Path, uninterrupted: tuple[dict[str, str], float]
) -> None:
    expected, duration = uninterrupted
    chance, hashes, kills, resumed = random.Random(1), [], 0, 0
    checkpoint, folder = finished / "checkpoints/killed.checkpoint", finished / "outputs/killed"
    while kills < KILLS or checkpoint.exists():
        seconds = chance.uniform(0.25, 1.1) * duration if kills < KILLS else 600
        killed, printed = kill_after(finished, seconds, *TRAIN, "run=killed")
        kills += killed
        resumed += "Going on after" in printed
        if (folder / "model.h5").exists() and not checkpoint.exists():  # complete, be it killed or not
            hashes.append(made(finished, "killed"))
            shutil.rmtree(folder)
    assert resumed
    assert hashes
    assert hashes == [expected] * len(hashes)


@pytest.mark.parametrize("harm", ["torn", "foreign"])
def test_a_checkpoint_that_cannot_be_used_is_named_and_the_training_starts_over(
    finished: Path, uninterrupted: tuple[dict[str, str], float], harm: str
) -> None:
    command = [*TRAIN, f"run={harm}"]
    checkpoint = finished / "checkpoints" / f"{harm}.checkpoint"
    with subprocess.Popen(command, cwd=finished, env=ENVIRONMENT, stdout=subprocess.DEVNULL) as process:
        await_checkpoint(process, checkpoint)
        process.kill()
    if harm == "torn":
        checkpoint.write_bytes(checkpoint.read_bytes()[:100_000])
        reason = "is damaged"
    else:
        command.append("optimizer.config.rho=0.9")
        reason = "belongs to a training with another configuration"
    printed = run(finished, *command)
    assert f"Warning: {checkpoint} {reason}" in printed
    assert "Training starts over." in printed
    assert (made(finished, harm) == uninterrupted[0]) == (harm == "torn")


def test_a_run_that_another_process_trains_is_refused(finished: Path) -> None:
    command = [*TRAIN, "run=taken"]
    with subprocess.Popen(command, cwd=finished, env=ENVIRONMENT, stdout=subprocess.DEVNULL) as process:
        await_checkpoint(process, finished / "checkpoints/taken.checkpoint")
        printed = run(finished, *command, fails=True)
        process.kill()
    assert printed == "Error: run=taken is being trained by another process. Wait for it, or choose another run=…\n"


def test_a_checkpoint_that_cannot_be_written_does_not_end_the_training(finished: Path) -> None:
    (finished / "checkpoints/.full.partial.checkpoint").mkdir(parents=True)  # where it is to be written
    printed = run(finished, *TRAIN, "run=full", "epochs=1")
    assert "Warning: no checkpoint (" in printed
    assert (finished / "outputs/full/model.h5").exists()


def recorded_ids(project: Path, name: str) -> list[str]:
    """List the MLflow runs of this name, the documented one first."""
    statement = "SELECT run_uuid FROM runs WHERE name = ? ORDER BY start_time"
    return [run_id for (run_id,) in query(project, statement, name)]


def test_a_documented_run_is_verified_as_identical(finished: Path) -> None:
    printed = run(finished, *PYTHON, "pipelines.verify", recorded_ids(finished, "adadelta_128")[0])
    assert "batch_size=128" in printed
    assert printed.splitlines()[-1] == "Identical to the bit: every measure of every epoch, and model.h5."
    assert len(run(finished, "git", "worktree", "list").splitlines()) == 1


def test_a_run_of_an_experiment_is_verified_as_the_experiment_changed_it(project: Path) -> None:
    run(project, "dvc", "exp", "run", "--set-param", "runs.sgd_128.batch_size=256", "track@sgd_128")
    run(project, "git", "checkout", "--quiet", ".")
    printed = run(project, *PYTHON, "pipelines.verify", recorded_ids(project, "sgd_128")[-1])
    assert "batch_size=256" in printed
    assert printed.splitlines()[-1].startswith("Identical to the bit")


def test_a_row_that_was_committed_after_its_training_is_verified_as_it_was_committed(project: Path) -> None:
    replace(
        project / "params.yaml",
        "sgd_128: {optimizer: sgd, batch_size: 128",
        "sgd_128: {optimizer: sgd, batch_size: 200",
    )
    run(project, "dvc", "repro", "track@sgd_128")
    commit(project)
    try:
        printed = run(project, *PYTHON, "pipelines.verify", recorded_ids(project, "sgd_128")[-1])
    finally:
        run(project, "git", "reset", "--quiet", "--hard", "HEAD~1")
    assert "batch_size=200" in printed
    assert printed.splitlines()[-1].startswith("Identical to the bit")


@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        ("conf/data/mnist.yaml", "train_examples: 1000", "train_examples: 900", "data/prepared/mnist.npz: "),
        ("conf/training/default.yaml", "threads: 2", "threads: 1", "training.threads: 1 in the record, 2 now"),
        ("src/mnist_cnn/training.py", "(seed, epoch)", "(seed + 1, epoch)", "src/mnist_cnn/training.py: "),
    ],
    ids=["data", "threads", "code"],
)
def test_what_was_changed_and_not_committed_is_named(project: Path, file: str, old: str, new: str, named: str) -> None:
    name = f"changed_{Path(file).stem}"
    replace(project / file, old, new)
    run(project, *PYTHON, "pipelines.prepare")
    run(project, *PYTHON, "pipelines.train", "batch_size=128", "epochs=2", f"run={name}")
    run(project, "git", "checkout", "--quiet", ".")
    printed = run(project, *PYTHON, "pipelines.verify", recorded_ids(project, name)[-1], fails=True)
    assert "Differs first in epoch 1: " in printed or "epoch is identical to the bit, model.h5 is not." in printed
    differences = printed.partition("Not as it was recorded:\n")[2].splitlines()
    assert len(differences) == 1
    assert differences[0].strip().startswith(named)


def test_the_doctor_finds_a_finished_project_well(finished: Path) -> None:
    shutil.rmtree(finished / "outputs", ignore_errors=True)
    assert run(finished, *PYTHON, "pipelines.doctor").splitlines()[-1].endswith(" and MLflow agree.")


def test_the_doctor_names_what_disagrees_and_the_command_that_mends_it(project: Path) -> None:
    replace(project / "conf/optimizer/adadelta.yaml", "rho: 0.95", "rho: 0.9")
    (project / "runs/sgd_32/model.h5").unlink()
    (project / "runs/removed").mkdir()
    (project / "mlflow.db").rename(project / "mlflow.db.away")
    printed = run(project, *PYTHON, "pipelines.doctor", fails=True)
    (project / "mlflow.db.away").rename(project / "mlflow.db")
    (project / "runs/removed").rmdir()
    assert (
        "train@adadelta_128 is not as dvc.lock has it: conf/optimizer/adadelta.yaml modified.\n    dvc repro\n"
        in printed
    )
    assert "train@sgd_32 is not as dvc.lock has it: runs/sgd_32/model.h5 deleted.\n    dvc repro\n" in printed
    assert "runs/removed/ is not a row of params.yaml.\n    rm -r runs/removed\n" in printed
    assert "MLflow lacks sgd_32 of the workspace.\n    python -m pipelines.sync\n" in printed


def test_the_doctor_names_a_configuration_that_cannot_be_used(project: Path) -> None:
    replace(project / "params.yaml", "optimizer: adadelta", "optimizer: adadetla")
    assert "Unknown optimizer 'adadetla'" in run(project, *PYTHON, "pipelines.doctor", fails=True)


def test_replicates_are_trained_once_recorded_below_one_run_and_kept_for_the_comparison(project: Path) -> None:
    command = (*PYTHON, "pipelines.replicate", "run=sgd_128,adadelta_128", "sweep.cpus_per_trial=1")
    assert "| `adadelta_128` | 2 " in run(project, *command, "seeds=2")
    again = run(project, *command, "seeds=3")
    assert "4 of them are recorded and count without being run again, 2 are to be run." in again
    kept = pd.read_csv(project / "reports/replicates.csv")
    assert kept.groupby(["run", "seed"])["epoch"].max().to_dict() == {
        (name, seed): 3 for name in ("adadelta_128", "sgd_128") for seed in (1, 2, 3)
    }
    parents = query(project, "SELECT value, count(*) FROM tags WHERE key = 'mlflow.parentRunId' GROUP BY value")
    assert [count for _, count in parents] == [6]
    assert not list((project / "outputs").glob("trial_*"))
    told = run(project, *PYTHON, "pipelines.compare", "a=sgd_128", "b=adadelta_128")
    assert "On 500 test images: sgd_128 " in told
    assert "3 and 3 seeds; paired t test: p = " in told
    run(project, "dvc", "repro", "--single-item", "compare")
    assert "| paired t |" in (project / "reports/comparison.md").read_text()


def test_a_run_compared_with_itself_is_identical(finished: Path) -> None:
    for first in ("sgd_32", recorded_ids(finished, "sgd_32")[0]):
        told = run(finished, *PYTHON, "pipelines.compare", f"a={first}", "b=sgd_32")
        assert f"{first} and sgd_32 are identical: the same probabilities for all 500 test images." in told


def test_stored_predictions_of_other_test_images_are_not_compared(project: Path) -> None:
    prepared = project / "data/prepared/mnist.npz"
    arrays = read_arrays(prepared)
    prepared.unlink()
    np.savez(prepared, allow_pickle=False, **{**arrays, "test_labels": arrays["test_labels"][::-1]})
    told = run(project, *PYTHON, "pipelines.compare", "a=sgd_32", "b=sgd_128", fails=True)
    assert "runs/sgd_32/predictions.npz is of other test images than data/prepared/. Type: dvc repro" in told


def test_a_run_that_is_nowhere_is_named(finished: Path) -> None:
    told = run(finished, *PYTHON, "pipelines.compare", "a=sgd_32", "b=nowhere", fails=True)
    assert told.startswith(
        "Error: nowhere is no row of params.yaml (sgd_32, sgd_128, adadelta_128, fast), no folder of outputs/"
    )


def test_a_run_that_mlflow_does_not_have_cannot_be_verified(finished: Path) -> None:
    told = run(finished, *PYTHON, "pipelines.verify", "0" * 32, fails=True)
    assert "Error: MLflow at sqlite:///" in told
    assert "0" * 32 in told
