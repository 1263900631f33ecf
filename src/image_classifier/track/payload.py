"""Contents of an MLflow run: parameters, metrics, tags, data set and description of a training and its result."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric
from mlflow.utils.mlflow_tags import (
    MLFLOW_DATASET_CONTEXT,
    MLFLOW_GIT_COMMIT,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NOTE,
    MLFLOW_SOURCE_NAME,
)

from image_classifier import paths
from image_classifier.dataset import count_held_out
from image_classifier.files import digest, read_history, read_json
from image_classifier.provenance.differences import flatten
from image_classifier.provenance.fingerprint import TrainingInput, code_hashes, data_hash
from image_classifier.provenance.result import Result
from image_classifier.provenance.revision import Revision
from image_classifier.provenance.run_metadata import RunMetadata
from image_classifier.track.store import INPUT_TAG, RESULT_TAG

RECIPE_TAG = "recipe_fingerprint"
EXPERIMENT_TAG = "dvc.experiment"
STATE_TAG = "trial.state"  # state of a trial that its sweep has stopped
DATASET_FILE = "dataset.json"  # artifact of a run: the description of its data set
HASH_LENGTH = 8  # digits of a hash that tells data, or code, apart; MLflow's UI shows as many
VALIDATION_NOTES = {
    "test": "The test images serve as validation images, as in the notebook: do not choose by these metrics.",
    "held_out": "Validated on held-out training images, not on the test images.",
    "final_test": "Validated on the test images once, after the training.",
}


def build_params(training: TrainingInput, report: Path) -> dict[str, str]:
    """Return the values that distinguish trainings, including the arguments of the optimizer that Keras chose.

    Values that are switched off (None, the settings of an average that is not used) are left out.

    Args:
        training: Training to describe.
        report: Description from `describe_dataset`, as JSON.
    """
    config = training.config
    sizes = part_sizes(report)
    optimizer = config["optimizer"]
    held_out = count_held_out(sizes["train_images"], config["validation"]["size"])
    unused = () if optimizer.get("use_ema") else ("use_ema", "ema_momentum", "ema_overwrite_frequency")
    in_force = {name: value for name, value in optimizer.items() if value is not None and name not in unused}
    values = {name: config[name] for name in ("batch_size", "epochs")}
    values |= {name: value for name, value in config["training"].items() if value is not None}
    values |= {
        "training_images": sizes["train_images"] - held_out,
        "validation_images": held_out or sizes["test_images"],
        "validation": config["validation"]["name"],
        "model": config["model"]["name"],
        **file_params(training.files),
    }
    for number, layer in enumerate(config["model"]["layers"], start=1):
        values[f"layer_{number}"] = yaml.safe_dump(layer, default_flow_style=True, width=math.inf).strip()
    for key, value in flatten(in_force, "optimizer").items():
        name = key.removesuffix("._target_").removeprefix("optimizer.")
        values[name] = value.rpartition(".")[2] if key.endswith("._target_") else value
    return {name: str(value) for name, value in values.items()}


def part_sizes(report: Path) -> dict[str, int]:
    """Return the numbers of images, train_images and test_images, from a description by `describe_dataset`."""
    return read_json(
        report, lambda parts: {f"{part}_images": int(parts[part]["examples"]) for part in ("train", "test")}
    )


def picture_task(report: Path) -> dict[str, Any]:
    """Return the fields of a `PictureTask` from a description by `describe_dataset`."""
    return read_json(report, lambda values: {key: values[key] for key in ("name", "classes", "image_shape", "fit")})


def file_params(files: dict[str, str]) -> dict[str, str]:
    """Return the first digits of the hashes of a training's data and code."""
    return {"data": data_hash(files)[:HASH_LENGTH], "code": digest(code_hashes(files))[:HASH_LENGTH]}


def run_name(run: str, experiment: str | None) -> str:
    """Return the name of a run in MLflow, which includes the name of its DVC experiment if it belongs to one."""
    return f"{run} ({experiment})" if experiment else run


def input_tags(training: TrainingInput, revision: Revision, metadata: RunMetadata | None) -> dict[str, str]:
    """Return the tags of a training's origin: command, commit, hashes of data and code, sweep and environment."""
    tags = {
        INPUT_TAG: training.fingerprint,
        MLFLOW_SOURCE_NAME: training.command,
        MLFLOW_GIT_COMMIT: revision.commit,
        "git.uncommitted": (", ".join(revision.uncommitted) or "nothing") if revision.commit else None,
        EXPERIMENT_TAG: revision.experiment,
        "library_defaults": ", ".join(training.config["library_defaults"]),
        **{f"dvc.{path}": md5 for path, md5 in training.files.items()},
        MLFLOW_PARENT_RUN_ID: metadata.parent if metadata else None,
        **{f"environment.{name}": value for name, value in (metadata.environment if metadata else {}).items()},
    }
    return {name: value for name, value in tags.items() if value}


def result_tags(result: Result) -> dict[str, str]:
    """Return the tags of a finished training: origin, fingerprints, DVC stage, hashes of the outputs, description."""
    tags = {
        **input_tags(result.input, result.revision, result.metadata),
        RESULT_TAG: result.fingerprint,
        RECIPE_TAG: result.recipe,
        "dvc.stage": f"train@{result.input.run}" if result.is_pipeline_run else None,
        **{f"dvc.{name}": md5 for name, md5 in result.outputs.items()},
        MLFLOW_RUN_NOTE: format_description(result),
    }
    return {name: value for name, value in tags.items() if value}


def dataset_input(training: TrainingInput, report: Path) -> DatasetInput:
    """Return the data set as an input of a run; its digest is DVC's MD5.

    Args:
        training: Training that read the data set.
        report: Description from `describe_dataset`, as JSON.
    """
    task = picture_task(report)
    label_type = np.min_scalar_type(len(task["classes"]) - 1).name  # as `fetch` stores the labels
    images = {"type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": [-1, *task["image_shape"]]}}
    labels = {"type": "tensor", "tensor-spec": {"dtype": label_type, "shape": [-1]}}
    sizes = part_sizes(report)
    md5 = data_hash(training.files)
    return DatasetInput(
        Dataset(
            name=f"{training.data} {sizes['train_images']:,} + {sizes['test_images']:,}",
            digest=md5,
            source_type="dvc",
            source=json.dumps({"path": f"{paths.PREPARED}/{training.data}", "md5": md5}),
            schema=json.dumps({"mlflow_tensorspec": {"features": [images], "targets": [labels]}}),
            profile=json.dumps(sizes),
        ),
        [InputTag(MLFLOW_DATASET_CONTEXT, "training and validation")],
    )


def epoch_metrics(epoch: int, values: dict[str, float], timestamp: int, training_images: int) -> list[Metric]:
    """Return the metrics of one epoch.

    Args:
        epoch: Number of the epoch, from 1, which becomes MLflow's step.
        values: Row of the history; `seconds` may be missing.
        timestamp: End of the epoch in milliseconds since 1970.
        training_images: Number of images in an epoch, for the speed.
    """
    metrics = {name: value for name, value in values.items() if name != "seconds"}
    if "seconds" in values:
        metrics["epoch_seconds"] = values["seconds"]
        metrics["images_per_second"] = training_images / values["seconds"]
    return [Metric(name, float(value), timestamp, epoch) for name, value in metrics.items()]


def history_metrics(result: Result, now: int) -> list[Metric]:
    """Return the metrics of all epochs; `now` replaces times that are not known."""
    metadata = result.metadata
    metrics: list[Metric] = []
    elapsed = 0.0
    for position, (epoch, row) in enumerate(read_history(result.files.history).iterrows()):
        values = dict(row.dropna())
        end = now
        images = 0
        if metadata:
            values["seconds"] = metadata.epoch_seconds[position]
            elapsed += values["seconds"]
            end = int((metadata.started + elapsed) * 1000)
            images = metadata.training_images
        metrics += epoch_metrics(epoch, values, end, images)
    return metrics


def final_metrics(result: Result, now: int, model_id: str | None) -> list[Metric]:
    """Return the best validation accuracy, its epoch, the duration, test metrics and calibration, all at step 0."""
    accuracies = read_history(result.files.history)["val_accuracy"]
    best = {"best_val_accuracy": accuracies.max(), "best_epoch": accuracies.idxmax()}
    if result.metadata:
        best["training_seconds"] = round(sum(result.metadata.epoch_seconds), 1)
    measured = test_metrics(result) | calibration_metrics(result)
    return [
        *(Metric(name, float(value), now, 0) for name, value in best.items()),
        *(Metric(name, value, now, 0, model_id=model_id) for name, value in measured.items()),
    ]


def test_metrics(result: Result) -> dict[str, float]:
    """Return test_loss and test_accuracy of an evaluated run or a final training, and nothing for other runs."""
    if result.is_evaluated:
        names = ("test_loss", "test_accuracy")
        return read_json(result.files.metrics, lambda values: {name: float(values[name]) for name in names})
    if result.input.config["validation"]["name"] == "final_test":
        last = read_history(result.files.history).iloc[-1]
        return {"test_loss": last["val_loss"], "test_accuracy": last["val_accuracy"]}
    return {}


def calibration_metrics(result: Result) -> dict[str, float]:
    """Return the numbers in calibration.json, and nothing for runs without it, such as results of older versions."""
    path = result.files.calibration
    if not path.exists():
        return {}
    return read_json(path, lambda values: {name: float(value) for name, value in values.items() if value is not None})


def format_description(result: Result) -> str:
    """Return the description of a run in Markdown: its metrics, and the commands that reproduce it."""
    history = read_history(result.files.history)
    test = test_metrics(result)
    revision = result.revision
    config = result.input.config
    last = history.iloc[-1]
    best = history["val_accuracy"].idxmax()
    checkout = f"git checkout {revision.commit}\n" if revision.commit else ""
    if revision.experiment:
        checkout = f"dvc exp apply {revision.experiment}\n"
    command = f"dvc repro evaluate@{result.input.run}" if result.is_pipeline_run else result.input.command
    uncommitted = _as_code(revision.uncommitted)
    defaults = _as_code(config["library_defaults"])
    paragraphs = [
        f"Test accuracy {test['test_accuracy']:.2%}, loss {test['test_loss']:.4f}." if test else "",
        f"To reproduce it:\n\n```\n{checkout}{command}\n```",
        f"Uncommitted changes when it was recorded: {uncommitted}." if uncommitted else "",
        f"Validation accuracy {last['val_accuracy']:.2%} after {len(history)} epochs, at best "
        f"{history['val_accuracy'].max():.2%} after epoch {best}. " + VALIDATION_NOTES[config["validation"]["name"]],
        f"Keras' defaults decide {defaults}." if defaults else "",
    ]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _as_code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
