"""Access to the MLflow runs of a result."""

from typing import Any

import pandas as pd
import yaml
from mlflow.entities import Run

from image_classifier.provenance.fingerprint import TrainingInput
from image_classifier.provenance.result import Result
from image_classifier.track.store import INPUT_TAG, Store


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


def reconfigured(training: TrainingInput, **values: Any) -> TrainingInput:
    """Return a training with other values at the top level of its configuration."""
    configuration = {**yaml.safe_load(training.configuration), **values}
    return TrainingInput(training.run, training.command, yaml.safe_dump(configuration), training.files)
