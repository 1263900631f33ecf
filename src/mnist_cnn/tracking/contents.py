"""What an MLflow run holds: parameters, metrics, tags, data set and description of a training and its result."""

import json
from itertools import accumulate
from typing import Any

import pandas as pd
import yaml
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.utils.mlflow_tags import (
    MLFLOW_DATASET_CONTEXT,
    MLFLOW_GIT_COMMIT,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NOTE,
    MLFLOW_SOURCE_NAME,
)

from mnist_cnn import paths
from mnist_cnn.results import Execution, Result, Revision, TrainingInput

RESULT_TAG, INPUT_TAG = "result", "input"
STATE_TAG = "trial.state"  # of a trial that its sweep has ended
VALIDATED_ON = {"test": "test", "held_out": "held out", "test_once": "test, once"}
VALIDATION_EXPLAINED = {
    "test": "The test images serve as validation, as in the notebook: the best epoch is a description, not a choice.",
    "held_out": "Validated on training images that were held out: the test images are untouched.",
    "test_once": "Validated on the test images, once, after the training.",
}
DATA = str(paths.PREPARED_DATA.relative_to(paths.ROOT))


AUGMENTATION = ("random_shift", "label_smoothing")  # absent from records that are older than they are


def params(training: TrainingInput) -> list[Param]:
    """Return what distinguishes runs: the values that are in force, Keras' own included; not what is switched off."""
    config = yaml.safe_load(training.configuration)
    optimizer = config["optimizer"]["config"]
    unused = set() if optimizer.get("use_ema") else {"use_ema", "ema_momentum", "ema_overwrite_frequency"}
    in_force = {name: value for name, value in optimizer.items() if value is not None and name not in unused}
    values = {
        "optimizer": config["optimizer"]["class_name"],
        **pd.json_normalize(in_force).to_dict("records")[0],
        "batch_size": config["batch_size"],
        "epochs": config["epochs"],
        "validation": VALIDATED_ON[validation(config)],
        "model": config["model"]["name"],
        "seed": config["training"]["seed"],
        "threads": config["training"]["threads"],
        "precision": config["training"].get("precision", "float32"),
        **{name: config["training"][name] for name in AUGMENTATION if config["training"].get(name)},
    }
    return [Param(name, str(value)) for name, value in values.items()]


def input_tags(training: TrainingInput, revision: Revision, execution: Execution | None) -> list[RunTag]:
    """Return what leads to a training's origin: command, commit, hashes of data and code, sweep, and the machine."""
    defaults = yaml.safe_load(training.configuration).get("library_defaults")
    tags = {
        INPUT_TAG: training.identity,
        MLFLOW_SOURCE_NAME: training.command,
        MLFLOW_GIT_COMMIT: revision.commit,
        "git.uncommitted": ", ".join(revision.uncommitted) or "nothing" if revision.commit else None,
        "dvc.experiment": revision.experiment,
        "library_defaults": ", ".join(defaults) if defaults else None,
        **{f"dvc.{path}": md5 for path, md5 in training.files.items()},
        MLFLOW_PARENT_RUN_ID: execution.parent if execution else None,
        **{f"environment.{name}": value for name, value in (execution.environment if execution else {}).items()},
    }
    return [RunTag(name, value) for name, value in tags.items() if value]


def result_tags(result: Result) -> list[RunTag]:
    """Return the tags of a finished training: those of its input, its stage, its outputs' hashes, its description."""
    tags = {
        RESULT_TAG: result.identity,
        "dvc.stage": f"train@{result.run}" if result.documented else None,
        **{f"dvc.{name}": md5 for name, md5 in result.outputs.items()},
        MLFLOW_RUN_NOTE: note(result),
    }
    return [
        *input_tags(result.input, result.revision, result.execution),
        *(RunTag(name, value) for name, value in tags.items() if value),
    ]


def can_continue(run: Run, execution: Execution | None) -> bool:
    """Tell whether an unfinished run may become that of an execution with the same input.

    A sweep's runs stay its own: a trial that one sweep has pruned is complete in another.
    """
    parent = execution.parent if execution else None
    return RESULT_TAG not in run.data.tags and run.data.tags.get(MLFLOW_PARENT_RUN_ID) == parent


def dataset(training: TrainingInput, description: dict[str, Any]) -> DatasetInput:
    """Return the data set as MLflow shows it; its digest is DVC's MD5.

    Args:
        training: that read it.
        description: of the train and test parts, from `data.describe`.
    """
    image = {"type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": [-1, 28, 28, 1]}}
    label = {"type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": [-1]}}
    return DatasetInput(
        Dataset(
            name="mnist",
            digest=training.files[DATA],
            source_type="dvc",
            source=json.dumps({"path": DATA, "md5": training.files[DATA]}),
            schema=json.dumps({"mlflow_tensorspec": {"features": [image], "targets": [label]}}),
            profile=json.dumps({f"{part}_images": values["examples"] for part, values in description.items()}),
        ),
        [InputTag(MLFLOW_DATASET_CONTEXT, "training and validation")],
    )


def start_milliseconds(result: Result) -> int | None:
    """Return when a training began, in milliseconds since 1970, if that is known."""
    return int(result.execution.started * 1000) if result.execution else None


def end_milliseconds(result: Result) -> int | None:
    """Return when its last epoch ended."""
    execution = result.execution
    return int((execution.started + sum(execution.epoch_seconds)) * 1000) if execution else None


def epoch_metrics(epoch: int, values: dict[str, float], timestamp: int, training_images: int | None) -> list[Metric]:
    """Return the metrics of one epoch.

    Args:
        epoch: from 1; MLflow's step.
        values: a row of the history; `seconds` may be missing.
        timestamp: its end, in milliseconds since 1970.
        training_images: in an epoch.
    """
    metrics = {name: value for name, value in values.items() if name != "seconds"}
    if "seconds" in values and training_images:
        metrics["epoch_seconds"] = values["seconds"]
        metrics["images_per_second"] = training_images / values["seconds"]
    return [Metric(name, float(value), timestamp, epoch) for name, value in metrics.items()]


def history(result: Result) -> pd.DataFrame:
    """Read the history of a result, with the seconds of its epochs if they are known."""
    frame = pd.read_csv(result.files.history, index_col="epoch")
    return frame.assign(seconds=result.execution.epoch_seconds) if result.execution else frame


def history_metrics(result: Result, now: int) -> dict[int, list[Metric]]:
    """Return the metrics of each epoch; `now` stands for ends that are not known."""
    rows = history(result)
    execution = result.execution
    ends = [now] * len(rows)
    if execution:
        ends = [int((execution.started + passed) * 1000) for passed in accumulate(execution.epoch_seconds)]
    images = execution.training_images if execution else None
    return {
        epoch: epoch_metrics(epoch, dict(row.dropna()), end, images)
        for (epoch, row), end in zip(rows.iterrows(), ends, strict=True)
    }


def final_metrics(result: Result, now: int, model_id: str | None) -> list[Metric]:
    """Return the best validation accuracy with its epoch, and the test metrics of the model, all at step 0."""
    accuracies = history(result)["val_accuracy"]
    best = {"best_val_accuracy": accuracies.max(), "best_epoch": accuracies.idxmax()}
    metrics = [Metric(name, float(value), now, 0) for name, value in best.items()]
    tested = measured_on_test(result).items()
    return metrics + [Metric(name, value, now, 0, model_id=model_id) for name, value in tested]


def measured_on_test(result: Result) -> dict[str, float]:
    """Return test_loss and test_accuracy, if the pipeline evaluated the run or it ended with a look at the images."""
    if result.documented:
        values = json.loads(result.files.metrics.read_text())
        return {name: values[name] for name in ("test_loss", "test_accuracy")}
    if validation(yaml.safe_load(result.input.configuration)) == "test_once":
        last = history(result).iloc[-1]
        return {"test_loss": last["val_loss"], "test_accuracy": last["val_accuracy"]}
    return {}


def note(result: Result) -> str:
    """Describe a run on one page: the result, and the command that reproduces it (Markdown)."""
    rows = history(result)
    best, last = rows["val_accuracy"].idxmax(), rows.iloc[-1]
    config = yaml.safe_load(result.input.configuration)
    test = measured_on_test(result)
    headline = f"Test accuracy {test['test_accuracy']:.2%}, loss {test['test_loss']:.4f}." if test else ""
    command = f"dvc repro evaluate@{result.run}" if result.documented else result.input.command
    commit, uncommitted = result.revision.commit, result.revision.uncommitted
    changes = (
        f"Not committed when it was recorded: {', '.join(f'`{path}`' for path in uncommitted)}." if uncommitted else ""
    )
    experiment = result.revision.experiment
    checkout = f"dvc exp apply {experiment}" if experiment else f"git checkout {commit}" if commit else None
    defaults = config.get("library_defaults")
    warning = f"Keras' own defaults decide {', '.join(f'`{name}`' for name in defaults)}." if defaults else ""
    paragraphs = [
        headline,
        "Reproduce it:",
        "```\n" + "\n".join(line for line in (checkout, command) if line) + "\n```",
        changes,
        f"{config['optimizer']['class_name']}, learning rate {_learning_rate(config)}, "
        f"batch size {config['batch_size']}, seed {config['training']['seed']}. "
        f"After {len(rows)} epochs: validation accuracy {last['val_accuracy']:.2%}, loss {last['val_loss']:.4f}; "
        f"best accuracy {rows.loc[best, 'val_accuracy']:.2%} in epoch {best}. "
        + VALIDATION_EXPLAINED[validation(config)],
        warning,
    ]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def validation(config: dict[str, Any]) -> str:
    """Name the kind of validation of a configuration, as conf/validation/ does."""
    if "validation" not in config:  # a result of a version that had no choice
        return "test"
    if config["validation"]["held_out"]:
        return "held_out"
    return "test" if config["validation"]["every_epoch"] else "test_once"


def _learning_rate(config: dict[str, Any]) -> str:
    value = config["optimizer"]["config"]["learning_rate"]
    return value["class_name"] if isinstance(value, dict) else f"{value:g}"
