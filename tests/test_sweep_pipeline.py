"""Sweeps as a user types them, on a slice of real MNIST: what they record, whatever happens to them."""

import hashlib
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow.entities import Run
from project import ENVIRONMENT, query, run
from servers import answers, free_port, mlflow_server, running

SWEEP = (sys.executable, "-m", "pipelines.train", "-m", "validation.held_out=200", "epochs=2")
GRID = ("optimizer=sgd,adam", "batch_size=32,64")


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished project that has its data and no MLflow store."""
    copy = tmp_path / "project"
    kept_out = shutil.ignore_patterns("mlflow.db*", "mlartifacts", "outputs", "runs", "cache", "tmp")
    shutil.copytree(finished, copy, symlinks=True, ignore=kept_out)
    return copy


def runs(store: str | Path) -> list[Run]:
    uri = f"sqlite:///{store}/mlflow.db" if isinstance(store, Path) else store
    client = mlflow.MlflowClient(uri)
    return list(client.search_runs([client.get_experiment_by_name("mnist-cnn").experiment_id]))  # type: ignore[union-attr]


def sweep_of(recorded: list[Run]) -> tuple[Run, list[Run]]:
    """Return the run of the only sweep, and those of its trials."""
    (parent,) = [one for one in recorded if "sweep" in one.data.tags]
    return parent, [one for one in recorded if one.data.tags.get("mlflow.parentRunId") == parent.info.run_id]


def wait_for_finished(project: Path, count: int, process: "subprocess.Popen[Any]") -> None:
    """Wait until so many trials have been recorded."""
    while process.poll() is None:
        time.sleep(0.2)
        if (project / "mlflow.db").exists():
            tables = query(project, "SELECT name FROM sqlite_master WHERE name = 'runs'")
            if tables and len(query(project, "SELECT 1 FROM runs WHERE status = 'FINISHED'")) >= count:
                return
    pytest.fail("the sweep ended before")


def test_a_grid_is_recorded_repeats_nothing_and_its_winner_is_adopted(project: Path) -> None:
    plan = run(project, *SWEEP, *GRID, "sweep.dry_run=true")
    assert "4 trials, grid over optimizer=sgd,adam, batch_size=32,64." in plan
    assert "4 are to be run" in plan

    printed = run(project, *SWEEP, *GRID, "sweep.final=true")
    parent, trials = sweep_of(runs(project))
    kinds = Counter(one.info.run_name.partition("_")[0] for one in trials)
    assert kinds == {"trial": 4, "final": 1}
    assert {one.info.status for one in [parent, *trials]} == {"FINISHED"}
    assert {one.data.params["validation"] for one in trials} == {"held out", "test, once"}
    (final,) = [one for one in trials if one.info.run_name.startswith("final")]
    accuracies = [one.data.metrics["val_accuracy"] for one in trials if one is not final]
    assert parent.data.metrics["best_val_accuracy"] == max(accuracies)
    assert [one for one in trials if "test_accuracy" in one.data.metrics] == [final]
    files = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db").list_artifacts(parent.info.run_id)
    artifacts = {file.path for file in files}
    assert artifacts == {"importance.png", "parallel_coordinates.png", "trials.csv"}
    assert [folder.name for folder in (project / "outputs").iterdir() if folder.is_dir()] == [final.info.run_name]
    assert "Test accuracy" in printed

    # the same command again
    assert "4 of them are recorded" in run(project, *SWEEP, *GRID)
    assert len(runs(project)) == 6
    # another sweep with some of the same trials
    other = ("optimizer=sgd,adadelta", "batch_size=32,64", "sweep.dry_run=true")
    assert "2 of them are recorded" in run(project, *SWEEP, *other)

    # one of the trials alone
    trial = next(one for one in trials if one.info.run_name.startswith("trial"))
    run(project, *shlex.split(trial.data.tags["mlflow.source.name"]))
    model = project / "outputs" / trial.info.run_name / "model.h5"
    assert hashlib.md5(model.read_bytes()).hexdigest() == trial.data.tags["dvc.model.h5"]
    assert len(runs(project)) == 6

    identity = parent.data.tags["sweep"]
    run(project, sys.executable, "-m", "pipelines.adopt", f"sweep={identity}", "name=best")
    assert "best: {optimizer: " in (project / "params.yaml").read_text()
    assert "train@best" in run(project, "dvc", "repro", "--dry", "train@best")


def test_a_killed_sweep_goes_on_without_repeating_or_losing_a_trial(project: Path) -> None:
    with subprocess.Popen([*SWEEP, *GRID], cwd=project, env=ENVIRONMENT, stdout=subprocess.DEVNULL) as process:
        wait_for_finished(project, 1, process)
        process.kill()
    before = {one.info.run_id: one.info.end_time for one in runs(project) if one.info.status == "FINISHED"}
    run(project, *SWEEP, *GRID)
    parent, trials = sweep_of(runs(project))
    assert len(runs(project)) == 5
    assert Counter(one.info.status for one in trials) == {"FINISHED": 4}
    assert parent.data.metrics["complete"] == 4
    assert before.items() <= {one.info.run_id: one.info.end_time for one in trials}.items()


def test_an_interrupted_sweep_keeps_what_is_finished_and_says_how_to_go_on(project: Path) -> None:
    with subprocess.Popen(
        [*SWEEP, *GRID], cwd=project, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        wait_for_finished(project, 1, process)
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted. The same command goes on." in printed
    assert "Traceback" not in printed
    parent, trials = sweep_of(runs(project))
    assert parent.info.status == "KILLED"
    assert {one.info.status for one in trials} <= {"FINISHED", "KILLED"}
    assert "FINISHED" in {one.info.status for one in trials}


def test_a_trial_that_diverges_is_marked_and_does_not_end_the_sweep(project: Path) -> None:
    rates = "optimizer.config.learning_rate=1e18,1e19,0.1"
    printed = run(project, *SWEEP, rates, "sweep.max_failures=2")
    assert "1 complete, 2 failed" in printed
    _, trials = sweep_of(runs(project))
    failed = [one for one in trials if one.info.status == "FAILED"]
    assert [one.data.tags["trial.state"] for one in failed] == ["failed", "failed"]
    assert all("lower the learning rate" in one.data.tags["trial.reason"] for one in failed)
    again = run(project, *SWEEP, rates, "sweep.max_failures=0")
    assert "3 of them are recorded" in again  # and the failures of the first time do not count again


def test_too_many_failures_end_a_sweep(project: Path) -> None:
    rates = "optimizer.config.learning_rate=1e17,1e18,1e19,0.1,0.2"
    printed = run(project, *SWEEP, rates, "sweep.max_failures=0", fails=True)
    assert "more than sweep.max_failures=0." in printed
    parent, trials = sweep_of(runs(project))
    assert parent.info.status == "FAILED"
    assert len(trials) < 5


def alive(address: str, environment: dict[str, str]) -> int:
    """Count the nodes of a Ray cluster."""
    program = "import ray, sys; ray.init(sys.argv[1]); print(sum(node['Alive'] for node in ray.nodes()))"
    asked = [sys.executable, "-c", program, address]
    return int(subprocess.run(asked, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout)


@pytest.fixture
def cluster() -> Iterator[tuple[str, dict[str, str], "subprocess.Popen[bytes]"]]:
    """Run two nodes with a CPU each on this machine; yields the address, the environment, the second one's process."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16), "RAY_USAGE_STATS_ENABLED": "0"}
    folder = tempfile.mkdtemp(dir="/tmp")  # short: the paths of sockets are limited to 107 bytes
    environment, port = {**ENVIRONMENT, **token, "RAY_TMPDIR": folder}, free_port()
    address = f"127.0.0.1:{port}"
    start = [str(Path(sys.executable).with_name("ray")), "start", "--num-cpus=1", "--disable-usage-stats", "--block"]
    quiet: dict[str, Any] = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with running([*start, "--head", f"--port={port}", "--include-dashboard=false"], **quiet) as head:
        while not answers(port):
            assert head.poll() is None
            time.sleep(0.2)
        with running([*start, f"--address={address}"], **quiet) as second:
            while alive(address, environment) < 2:
                assert second.poll() is None
            yield address, environment, second
    shutil.rmtree(folder, ignore_errors=True)


def test_a_sweep_on_two_nodes_survives_the_loss_of_one(
    project: Path, tmp_path: Path, cluster: tuple[str, dict[str, str], "subprocess.Popen[bytes]"]
) -> None:
    address, environment, second = cluster
    with mlflow_server(f"sqlite:///{tmp_path}/server.db", tmp_path / "artifacts") as server:
        command = [*SWEEP, "optimizer=sgd,adam", "batch_size=16,32,64", f"sweep.address={address}"]
        tracked = {**environment, "MLFLOW_TRACKING_URI": server}
        with subprocess.Popen(
            command, cwd=project, env=tracked, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            while process.poll() is None and finished_on(server) < 3:
                time.sleep(0.5)
            assert process.poll() is None
            os.killpg(second.pid, signal.SIGKILL)
            printed, _ = process.communicate(timeout=300)
        assert process.returncode == 0, printed
        parent, trials = sweep_of(runs(server))
        assert Counter(one.info.status for one in trials) == {"FINISHED": 6}
        assert len({one.data.tags["result"] for one in trials}) == 6
        table = mlflow.MlflowClient(server).download_artifacts(parent.info.run_id, "trials.csv", str(tmp_path))
        assert pd.read_csv(table)["node"].nunique() == 2


def finished_on(server: str) -> int:
    client = mlflow.MlflowClient(server)
    experiment = client.get_experiment_by_name("mnist-cnn")
    found = client.search_runs([experiment.experiment_id], "attributes.status = 'FINISHED'") if experiment else []
    return len(found)
