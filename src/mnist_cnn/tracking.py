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
from sqlalchemy.exc import SQLAlchemyError

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
        locked: its `train` stage in dvc.lock: command, parameters, dependencies and outputs with their hashes.
    """

    run: str
    files: RunFiles
    locked: dict[str, Any]

    @property
    def identity(self) -> str:
        """A digest of what came out: the resolved configuration, the history and the model."""
        return _digest(self.locked["outs"])

    @property
    def input_identity(self) -> str:
        """A digest of what went in: command, parameters, data, configuration and code."""
        return _digest({key: value for key, value in self.locked.items() if key != "outs"})


def read_result(run: str, files: RunFiles, dvc_lock: Path) -> Result:
    """Find a finished run in dvc.lock.

    Raises:
        InputError: DVC has not trained it, or has not evaluated that training.
    """
    stages = (yaml.safe_load(dvc_lock.read_text()) or {}).get("stages", {}) if dvc_lock.exists() else {}
    trained, evaluated = stages.get(f"train@{run}", {}), stages.get(f"evaluate@{run}", {})
    if not trained or _md5(trained["outs"], "model.h5") != _md5(evaluated.get("deps", []), "model.h5"):
        raise InputError(f"{dvc_lock.name} has no evaluated training of run={run}. Make it: dvc repro track@{run}")
    return Result(run, files, trained)


@dataclass(frozen=True)
class Record:
    """Where a result stands in MLflow.

    Attributes:
        run_id: of its MLflow run.
        contradicting: ids of runs with the same input and another result.
    """

    run_id: str
    contradicting: list[str]


def record(result: Result, experiment: str) -> Record:
    """Write a result to the tracking store, into the one MLflow run that belongs to it.

    The store is MLFLOW_TRACKING_URI, or a SQLite file in the project. A record that was cut off is completed; in one
    that is complete the files are replaced, because a plot may look different now.

    Raises:
        FileNotFoundError: a file of the run is missing.
        InputError: the store cannot be reached or written.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{paths.TRACKING_DATABASE}"
    if uri.startswith("sqlite:") and not uri.startswith("sqlite:////"):
        raise InputError(f"MLFLOW_TRACKING_URI={uri} is relative, experiments run elsewhere: sqlite:////…")
    try:
        # One at a time: several first clients of a new SQLite file fail, and two searches may both find no run.
        with FileLock(f"{paths.TRACKING_DATABASE}.lock"):
            client = MlflowClient(uri)
            experiment_id = _find_or_create_experiment(client, experiment, uri)
            same_input = client.search_runs([experiment_id], f"tags.{INPUT_TAG} = '{result.input_identity}'")
            same_result = client.search_runs([experiment_id], f"tags.{RESULT_TAG} = '{result.identity}'")
            run = same_result[0] if same_result else _create_run(client, experiment_id, result)
            _write(client, run, result)
    except FileNotFoundError:
        raise
    except (MlflowException, SQLAlchemyError, ImportError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"MLflow at {uri}: {reason}. Fix it, then: dvc repro track@{result.run}") from error
    contradicting = [other.info.run_id for other in same_input if other.data.tags[RESULT_TAG] != result.identity]
    return Record(run.info.run_id, contradicting)


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
    run_id, start, logged = run.info.run_id, run.info.start_time, run.data.metrics
    metrics = [] if "loss" in logged else _epoch_metrics(result, start)  # MLflow writes all of a batch or none
    metrics += [metric for metric in _final_metrics(result) if logged.get(metric.key) != metric.value]
    client.log_batch(run_id, metrics, _params(result), _tags(result))
    client.log_artifacts(run_id, str(result.files.directory))
    for diagram in (*paths.MODEL_DIAGRAMS, paths.MODEL_SUMMARY):
        client.log_artifact(run_id, str(diagram), artifact_path="diagram")
    if run.info.status != RunStatus.to_string(RunStatus.FINISHED):
        client.set_terminated(run_id, end_time=start + sum(_epoch_milliseconds(result)))


def _epoch_milliseconds(result: Result) -> list[int]:
    """Return the time of each epoch, if this machine has trained the very model; else nothing."""
    file = result.files.execution
    execution = json.loads(file.read_text()) if file.exists() else {}
    if execution.get("model_md5") not in [out["md5"] for out in result.locked["outs"]]:
        return []
    return [int(seconds * 1000) for seconds in execution["epoch_seconds"]]


def _epoch_metrics(result: Result, start: int) -> list[Metric]:
    history = pd.read_csv(result.files.history, index_col="epoch")
    milliseconds = _epoch_milliseconds(result)
    if milliseconds:
        history["epoch_seconds"] = [value / 1000 for value in milliseconds]
    ends = [start + passed for passed in accumulate(milliseconds)] or [start] * len(history)
    return [
        Metric(name, float(value), end, step)
        for name, values in history.items()
        for (step, value), end in zip(values.items(), ends, strict=True)
    ]


def _final_metrics(result: Result) -> list[Metric]:
    metrics = json.loads(result.files.metrics.read_text())
    now = int(time.time() * 1000)
    return [Metric(name, metrics[name], now, step=0) for name in ("test_loss", "test_accuracy")]


def _params(result: Result) -> list[Param]:
    config = yaml.safe_load(result.files.configuration.read_text())
    values = {
        "optimizer": config["optimizer"]["class_name"],
        **pd.json_normalize(config["optimizer"]["config"]).to_dict("records")[0],
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
        INPUT_TAG: result.input_identity,
        MLFLOW_GIT_COMMIT: get_git_commit(str(paths.ROOT)),
        MLFLOW_SOURCE_NAME: result.locked["cmd"],
        "dvc.experiment": os.environ.get("DVC_EXP_NAME"),
        **{f"dvc.{path}": md5 for path, md5 in hashes.items()},
    }
    return [RunTag(name, value) for name, value in tags.items() if value]


def _md5(entries: list[dict[str, str]], name: str) -> str | None:
    return next((entry["md5"] for entry in entries if Path(entry["path"]).name == name), None)


def _digest(entry: object) -> str:
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()
