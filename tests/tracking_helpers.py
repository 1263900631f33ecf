"""Access to the MLflow runs of a result."""

from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from mlflow.entities import Run

from image_classifier.config.compose import load_params
from image_classifier.config.schema import Compare
from image_classifier.provenance.fingerprint import TrainingInput
from image_classifier.provenance.result import Result
from image_classifier.track import promotion
from image_classifier.track.store import INPUT_TAG, Store

COMPARE = Compare.model_construct(confidence=0.95, margin=0.001, calibration_margin=0.01, batch_size=100)


def promote(result: Result, force: str | None = None) -> promotion.Move:
    """Promote a result by the rules."""
    return promotion.promote(result, load_params(), COMPARE, force)


def model_folder(store: Store, version: str = "1") -> Path:
    """Return the folder with the files of a version of the registered model mnist."""
    return Path(store.client.get_model_version_download_uri("mnist", version).removeprefix("file://"))


def runs_of(store: Store, result: Result) -> list[Run]:
    """Return the runs with the input of a result, oldest first."""
    return store.find({INPUT_TAG: result.input.fingerprint})


def logged(store: Store, run_id: str, name: str = "loss") -> list[tuple[int, float]]:
    """Return step and value of each logged point of a metric."""
    return [(point.step, point.value) for point in store.client.get_metric_history(run_id, name)]


def epochs_of(result: Result) -> dict[int, dict[str, float]]:
    """Return the epochs of a result as a training hands them over."""
    assert result.metadata
    history = pd.read_csv(result.files.history, index_col="epoch").assign(seconds=result.metadata.epoch_seconds)
    return {epoch: dict(row) for epoch, row in history.iterrows()}


def superseded_runs(store: Store) -> dict[str, str]:
    """Return the ids of the superseded runs, each with the id of the current run of its name."""
    runs = store.client.search_runs([store.experiment_id], "tags.superseded_by IS NOT NULL")
    return {run.info.run_id: run.data.tags["superseded_by"] for run in runs}


def reconfigured(training: TrainingInput, /, **values: Any) -> TrainingInput:
    """Return a training with other values in its configuration; values within a group are added to the group."""
    configuration = yaml.safe_load(training.configuration)
    for key, value in values.items():
        is_part = isinstance(value, dict) and "_target_" not in value
        configuration[key] = {**configuration[key], **value} if is_part else value
    return TrainingInput(training.run, training.command, yaml.safe_dump(configuration), training.files)
