"""The record of a result in MLflow: the only module that knows MLflow."""

import hashlib
import json
import os
import time
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when MLflow is imported
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # a server that is down is reported in seconds

import pandas as pd
import yaml
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.git_utils import get_git_commit
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_SOURCE_NAME

from mnist_cnn import paths
from mnist_cnn.errors import InputError
from mnist_cnn.paths import RunFiles

RESULT_TAG, INPUT_TAG = "result", "input"


@dataclass(frozen=True)
class Result:
    """A finished run as DVC holds it.

    Attributes:
        run: its name in params.yaml.
        files: where its files are.
        locked: its `train` stage in dvc.lock: command, dependencies, parameters and outputs with their hashes.
    """

    run: str
    files: RunFiles
    locked: dict[str, Any]

    @property
    def identity(self) -> str:
        """A digest of what went in and what came out: equal for two executions exactly if nothing differs."""
        return _digest(self.locked)

    @property
    def input_identity(self) -> str:
        """A digest of what went in. Two results of one input mean that training is not reproducible."""
        return _digest({key: value for key, value in self.locked.items() if key != "outs"})


def read_result(run: str, files: RunFiles, dvc_lock: Path) -> Result:
    """Find a finished run in dvc.lock.

    Raises:
        InputError: DVC has not finished it.
    """
    stages = (yaml.safe_load(dvc_lock.read_text()) or {}).get("stages", {}) if dvc_lock.exists() else {}
    if f"train@{run}" not in stages or f"evaluate@{run}" not in stages:
        raise InputError(f"run={run} is not in {dvc_lock.name}. Train and evaluate it: dvc repro track@{run}")
    return Result(run, files, stages[f"train@{run}"])


@dataclass(frozen=True)
class Record:
    """Where a result stands in MLflow.

    Attributes:
        run_id: of its MLflow run.
        contradicting: ids of runs with the same input and another result; if there are any, training is not
            reproducible.
    """

    run_id: str
    contradicting: list[str]


def record(result: Result, experiment: str) -> Record:
    """Write a result to the tracking store, into the one MLflow run that belongs to it.

    The store is MLFLOW_TRACKING_URI, or a SQLite file in the project. A record that was cut off is completed; of one
    that is complete only the files are replaced, because a plot may look different now.

    Raises:
        InputError: the store cannot be reached or written.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{paths.TRACKING_DATABASE}"
    try:
        # One at a time: several first clients of a new SQLite file fail, and two searches may both find no run.
        with FileLock(f"{paths.TRACKING_DATABASE}.lock"):
            client = MlflowClient(uri)
            experiment_id = _find_or_create_experiment(client, experiment, uri)
            same_input = client.search_runs([experiment_id], f"tags.{INPUT_TAG} = '{result.input_identity}'")
            same_result = [run for run in same_input if run.data.tags[RESULT_TAG] == result.identity]
            run = same_result[0] if same_result else _create_run(client, experiment_id, result)
        _write(client, run, result)
    except MlflowException as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"MLflow at {uri}: {reason}. Mend it, then: dvc repro track@{result.run}") from error
    return Record(run.info.run_id, [other.info.run_id for other in same_input if other not in same_result])


def _find_or_create_experiment(client: MlflowClient, name: str, uri: str) -> str:
    if found := client.get_experiment_by_name(name):
        return str(found.experiment_id)
    server_decides = uri.startswith(("http:", "https:"))
    return str(client.create_experiment(name, None if server_decides else paths.TRACKING_ARTIFACTS.as_uri()))


def _create_run(client: MlflowClient, experiment_id: str, result: Result) -> Run:
    return client.create_run(
        experiment_id,
        start_time=int(time.time() * 1000) - sum(_epoch_milliseconds(result)),
        tags={RESULT_TAG: result.identity, INPUT_TAG: result.input_identity},
        run_name=result.run,
    )


def _write(client: MlflowClient, run: Run, result: Result) -> None:
    run_id, start = run.info.run_id, run.info.start_time
    if run.info.status != RunStatus.to_string(RunStatus.FINISHED):
        metrics = [] if "test_accuracy" in run.data.metrics else _metrics(result, start)  # all at once or none
        client.log_batch(run_id, metrics, _params(result), _tags(result))
    client.log_artifacts(run_id, str(result.files.directory))
    for diagram in (*paths.MODEL_DIAGRAMS, paths.MODEL_SUMMARY):
        client.log_artifact(run_id, str(diagram), artifact_path="diagram")
    client.set_terminated(run_id, end_time=start + sum(_epoch_milliseconds(result)))


def _epoch_milliseconds(result: Result) -> list[int]:
    """Give the time of each epoch, if this machine has trained the very model; else nothing."""
    file = result.files.execution
    execution = json.loads(file.read_text()) if file.exists() else {}
    if execution.get("model_md5") not in [out["md5"] for out in result.locked["outs"]]:
        return []
    return [int(seconds * 1000) for seconds in execution["epoch_seconds"]]


def _metrics(result: Result, start: int) -> list[Metric]:
    history = pd.read_csv(result.files.history, index_col="epoch")
    milliseconds = _epoch_milliseconds(result)
    if milliseconds:
        history["epoch_seconds"] = [value / 1000 for value in milliseconds]
    ends = [start + passed for passed in accumulate(milliseconds)] or [start] * len(history)
    metrics = [
        Metric(name, float(value), end, step)
        for name, values in history.items()
        for (step, value), end in zip(values.items(), ends, strict=True)
    ]
    final = json.loads(result.files.metrics.read_text())
    return metrics + [Metric(name, final[name], ends[-1], len(history)) for name in ("test_loss", "test_accuracy")]


def _params(result: Result) -> list[Param]:
    config = yaml.safe_load(result.files.configuration.read_text())
    values = {
        "optimizer": config["optimizer"]["class_name"],
        **pd.json_normalize(config["optimizer"]["config"]).iloc[0].to_dict(),
        "batch_size": config["batch_size"],
        "epochs": config["epochs"],
        "model": config["model"]["name"],
        "seed": config["training"]["seed"],
        "threads": config["training"]["threads"],
    }
    return [Param(name, str(value)) for name, value in values.items()]


def _tags(result: Result) -> list[RunTag]:
    hashes = {entry["path"]: entry["md5"] for part in ("deps", "outs") for entry in result.locked[part]}
    tags = {
        MLFLOW_GIT_COMMIT: get_git_commit(str(paths.ROOT)),
        MLFLOW_SOURCE_NAME: result.locked["cmd"],
        "dvc.experiment": os.environ.get("DVC_EXP_NAME"),
        **{f"dvc.{path}": md5 for path, md5 in hashes.items()},
    }
    return [RunTag(name, value) for name, value in tags.items() if value]


def _digest(entry: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()
