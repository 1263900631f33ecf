"""The record of a finished training: exactly one MLflow run for each distinct result."""

import time
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain
from tempfile import TemporaryDirectory

import numpy as np
import yaml
from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric, Run, RunStatus
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec

from mnist_cnn.results import Held, Result
from mnist_cnn.tracking import contents
from mnist_cnn.tracking.contents import INPUT_TAG, RESULT_TAG, can_continue
from mnist_cnn.tracking.store import Store

FINISHED = RunStatus.to_string(RunStatus.FINISHED)
LARGEST_BATCH = 1000  # metrics in one request: MLflow's limit


@dataclass(frozen=True)
class Record:
    """Where a result stands in MLflow.

    Attributes:
        run_id: of its MLflow run.
        contradicting: ids of runs with the same input and another result.
    """

    run_id: str
    contradicting: list[str]


def record(store: Store, result: Result) -> Record:
    """Write a result into the one MLflow run that belongs to it.

    That is the run with this result, else the one that followed this training live, else a new one. What it lacks is
    added; files are replaced, because a plot may look different now.

    Raises:
        FileNotFoundError: a file of the run is missing.
        InputError: the store cannot be reached or written.
    """
    with store.explained(), store.locked():
        same_input = store.find(INPUT_TAG, result.input.identity)
        same_result = store.find(RESULT_TAG, result.identity)
        live = [run for run in same_input if can_continue(run, result.execution) and _followed(store, run, result)]
        run = next(chain(same_result, live), None) or _create(store, result)
        _write(store, run, result)
        for followed in live:
            if followed.info.run_id != run.info.run_id:  # a changed comment, say, led to a result that was known
                store.client.delete_run(followed.info.run_id)
    others = [run for run in same_input if run.data.tags.get(RESULT_TAG, result.identity) != result.identity]
    return Record(run.info.run_id, [other.info.run_id for other in others])


def missing(store: Store, held: list[Held]) -> list[Held]:
    """Return the results that the store does not hold completely.

    Raises:
        InputError: the store cannot be reached.
    """
    with store.explained():
        return [
            result for result in held if not any(is_complete(run) for run in store.find(RESULT_TAG, result.identity))
        ]


def is_complete(run: Run) -> bool:
    """Tell whether a run holds all of its result."""
    return RESULT_TAG in run.data.tags and run.info.status == FINISHED


def _followed(store: Store, run: Run, result: Result) -> bool:
    """Tell whether all epochs of an unfinished run are epochs of this result."""
    losses = contents.history(result)["loss"]
    logged = store.client.get_metric_history(run.info.run_id, "loss")
    return all(losses.get(point.step) == point.value for point in logged)


def _create(store: Store, result: Result) -> Run:
    tags = {INPUT_TAG: result.input.identity, RESULT_TAG: result.identity}
    start = contents.start_milliseconds(result)
    return store.client.create_run(store.experiment_id, start_time=start, tags=tags, run_name=result.run)


def _write(store: Store, run: Run, result: Result) -> None:
    client, run_id, now = store.client, run.info.run_id, int(time.time() * 1000)
    metrics = _missing_epochs(store, run_id, contents.history_metrics(result, now))
    client.log_batch(run_id, [], contents.params(result.input), contents.result_tags(result))
    for start in range(0, len(metrics), LARGEST_BATCH):
        client.log_batch(run_id, metrics[start : start + LARGEST_BATCH])
    if not (run.inputs and run.inputs.dataset_inputs):
        description = yaml.safe_load(result.dataset.read_text())
        client.log_inputs(run_id, [contents.dataset(result.input, description)])
    client.log_artifacts(run_id, str(result.files.directory))
    for diagram in result.diagrams:
        client.log_artifact(run_id, str(diagram), artifact_path="diagram")
    model_id = _log_model(store, run, result) if result.documented else None
    final, logged = contents.final_metrics(result, now, model_id), run.data.metrics
    client.log_batch(run_id, [metric for metric in final if logged.get(metric.key) != metric.value])
    if run.info.status != FINISHED:
        client.set_terminated(run_id, FINISHED, contents.end_milliseconds(result))


def _missing_epochs(store: Store, run_id: str, epochs: dict[int, list[Metric]]) -> list[Metric]:
    names = {metric.key for metrics in epochs.values() for metric in metrics}
    logged = {(name, point.step) for name in names for point in store.client.get_metric_history(run_id, name)}
    return [metric for metrics in epochs.values() for metric in metrics if (metric.key, metric.step) not in logged]


def _log_model(store: Store, run: Run, result: Result) -> str:
    """Log the model as an MLflow model, with a signature and an example, and return its id; one for each run."""
    client, run_id = store.client, run.info.run_id
    logged = client.search_logged_models([store.experiment_id], f"source_run_id = '{run_id}'")
    if ready := [model for model in logged if model.status == LoggedModelStatus.READY]:
        return str(ready[0].model_id)
    model = logged[0] if logged else client.create_logged_model(store.experiment_id, result.run, source_run_id=run_id)

    import mlflow.keras  # imports TensorFlow

    from mnist_cnn import dataset, evaluation
    from mnist_cnn import model as network

    signature = ModelSignature(
        Schema([TensorSpec(np.dtype(np.float32), (-1, *network.INPUT_SHAPE))]),
        Schema([TensorSpec(np.dtype(np.float32), (-1, dataset.CLASSES))]),
    )
    with TemporaryDirectory() as folder:
        mlflow.keras.save_model(
            evaluation.load_model(result.files.model),
            folder,
            mlflow_model=Model(artifact_path=model.artifact_location, run_id=run_id, model_id=model.model_id),
            signature=signature,
            input_example=np.zeros((1, *network.INPUT_SHAPE), np.float32),
            pip_requirements=[
                f"{library}=={version(library)}" for library in ("mlflow", "tensorflow", "keras", "numpy")
            ],
        )
        client.log_model_artifacts(model.model_id, folder)
    outputs = run.outputs.model_outputs if run.outputs else []
    if model.model_id not in [output.model_id for output in outputs]:
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    return str(model.model_id)
