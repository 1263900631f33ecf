"""A sweep on a Ray cluster of two nodes."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
import pandas as pd
import pytest
from helpers import ENVIRONMENT, SWEEP, environment, started, wait_until
from servers import free_port, is_listening, mlflow_server, running


class Cluster(NamedTuple):
    """A Ray cluster: its address, the variables of its clients, and the process of its second node."""

    address: str
    variables: dict[str, str]
    second_node: "subprocess.Popen[bytes]"


def count_nodes(address: str, variables: dict[str, str]) -> int:
    program = "import ray, sys; ray.init(sys.argv[1]); print(sum(node['Alive'] for node in ray.nodes()))"
    command = [sys.executable, "-c", program, address]
    options: dict[str, Any] = {"env": {**ENVIRONMENT, **variables}, "capture_output": True, "timeout": 60}
    return int(subprocess.run(command, text=True, check=True, **options).stdout)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Two nodes with a CPU each on this machine."""
    folder = tempfile.mkdtemp(dir="/tmp")  # short: the paths of sockets are limited to 107 bytes
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16), "RAY_USAGE_STATS_ENABLED": "0"}
    variables, port = {**token, "RAY_TMPDIR": folder}, free_port()
    address = f"127.0.0.1:{port}"
    start = [str(Path(sys.executable).with_name("ray")), "start", "--num-cpus=1", "--disable-usage-stats", "--block"]
    quiet: dict[str, Any] = {
        "env": {**ENVIRONMENT, **variables},
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    }
    with running([*start, "--head", f"--port={port}", "--include-dashboard=false"], **quiet) as head:
        wait_until(lambda: is_listening(port), head)
        with running([*start, f"--address={address}"], **quiet) as second:
            wait_until(lambda: count_nodes(address, variables) == 2, second)
            yield Cluster(address, variables, second)
    shutil.rmtree(folder, ignore_errors=True)


def count_finished(client: mlflow.MlflowClient) -> int:
    experiment = client.get_experiment_by_name("mnist")
    found = client.search_runs([experiment.experiment_id], "attributes.status = 'FINISHED'") if experiment else []
    return len(found)


@pytest.mark.slow
def test_a_sweep_on_two_nodes_survives_the_loss_of_one(untracked_copy: Path, tmp_path: Path, cluster: Cluster) -> None:
    with mlflow_server(f"sqlite:///{tmp_path}/server.db", tmp_path / "artifacts") as server:
        client = mlflow.MlflowClient(server)
        command = [*SWEEP, "optimizer=sgd,adam", "batch_size=16,32,64", f"sweep.address={cluster.address}"]
        variables = {**environment(untracked_copy), **cluster.variables, "MLFLOW_TRACKING_URI": server}
        with started(untracked_copy, *command, env=variables) as process:
            wait_until(lambda: count_finished(client) >= 3, process)
            assert process.poll() is None
            os.killpg(cluster.second_node.pid, signal.SIGKILL)
            printed, _ = process.communicate(timeout=300)
        assert process.returncode == 0, printed
        experiment = client.get_experiment_by_name("mnist")
        assert experiment
        runs = client.search_runs([experiment.experiment_id])
        (parent,) = [run for run in runs if "sweep" in run.data.tags]
        trials = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
        assert Counter(run.info.status for run in trials) == {"FINISHED": 6}
        assert len({run.data.tags["result_fingerprint"] for run in trials}) == 6
        table = client.download_artifacts(parent.info.run_id, "trials.csv", str(tmp_path))
        assert pd.read_csv(table)["node"].nunique() == 2
