"""Recording of results: exactly one MLflow run for each distinct result."""

import sys
import time
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Run
from mlflow.models import Model, infer_signature
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from image_classifier import environment, paths
from image_classifier.files import read_history, write_text
from image_classifier.provenance.fingerprint import TrainingInput
from image_classifier.provenance.result import Result, read_result
from image_classifier.provenance.run_metadata import RunMetadata
from image_classifier.track import payload
from image_classifier.track.payload import EXPERIMENT_TAG
from image_classifier.track.store import FINISHED, INPUT_TAG, RESULT_TAG, Store, has_files

SERVED_WITH = ("mlflow", "tensorflow", "keras", "numpy")  # libraries that a logged model needs


def track_run(run: str) -> str:
    """Record the result of a run of this workspace, and return the id of its MLflow run.

    Prints a warning if MLflow has another result of the same input.

    Args:
        run: Name of a row of params.yaml, or of a folder of outputs/.

    Raises:
        FileNotFoundError: A file of the run is missing.
        InputError: The training is not finished, or the store cannot be reached or written.
    """
    result = read_result(run)
    store = Store(result.data)
    run_id = record_result(store, result)
    if result.is_pipeline_run:
        write_text(paths.tracked_marker(run), f"{result.fingerprint}\n")
    for other in store.find({INPUT_TAG: result.input.fingerprint}):
        if other.data.tags.get(RESULT_TAG, result.fingerprint) != result.fingerprint:
            runs = f"MLflow runs {other.info.run_id} and {run_id}"
            print(
                f"Warning: The same configuration, data and code gave different results: {runs}. "
                "Compare their environment tags.",
                file=sys.stderr,
            )
    return run_id


def record_result(store: Store, result: Result, *, with_model: bool = False) -> str:
    """Write a result into its MLflow run, and return the id of the run.

    This is the run that has the result already, or the run that logged this training live, or a new run. Missing
    contents are added, and files are replaced, because a new version of the project may draw plots differently.
    Earlier results of the same name are tagged as superseded.

    Args:
        store: Store of the run.
        result: Result to write.
        with_model: Whether the MLflow model is logged even if the run is not evaluated.

    Raises:
        FileNotFoundError: A file of the run is missing.
        InputError: The store cannot be reached or written.
    """
    with store.locked():
        same_input = store.find({INPUT_TAG: result.input.fingerprint})
        live = [
            run for run in same_input if can_receive_result(run, result.metadata) and _has_epochs_of(store, run, result)
        ]
        known = [*store.find({RESULT_TAG: result.fingerprint}), *live]
        tags = payload.result_tags(result)
        run = write_input(store, known[0] if known else None, result.input, result.metadata, tags, result.dataset)
        _write_outputs(store, run, result, with_model=with_model or result.is_evaluated)
        if not (result.metadata and result.metadata.parent):
            _make_current(store, run, result)
        for duplicate in live:
            if duplicate.info.run_id != run.info.run_id:  # an edited comment, for example, led to a known result
                store.client.delete_run(duplicate.info.run_id)
    return str(run.info.run_id)


def can_receive_result(run: Run, metadata: RunMetadata | None) -> bool:
    """Return whether a run without a result may receive the result of a training with the same input.

    A run of a sweep belongs to that sweep alone, because another sweep may complete a trial that this one pruned.
    """
    parent = metadata.parent if metadata else None
    return RESULT_TAG not in run.data.tags and run.data.tags.get(MLFLOW_PARENT_RUN_ID) == parent


def write_input(
    store: Store,
    run: Run | None,
    training: TrainingInput,
    metadata: RunMetadata | None,
    tags: dict[str, str],
    dataset: Path,
) -> Run:
    """Write the parameters, tags and data set of a training into its MLflow run, and return the run.

    Args:
        store: Store of the run.
        run: The run if it exists. A new one starts at the present if the metadata are not known.
        training: Input of the training.
        metadata: Metadata of the training, if they are known.
        tags: Tags of the run.
        dataset: Description of the data set, see `payload.dataset_input`.
    """
    if run is None:
        start = int(metadata.started * 1000) if metadata else None
        name = payload.run_name(training.run, tags.get(EXPERIMENT_TAG))
        run = store.client.create_run(store.experiment_id, start, tags, name)
    store.log_params_and_tags(run, payload.build_params(training, dataset), tags)
    if not (run.inputs and run.inputs.dataset_inputs):
        store.client.log_inputs(run.info.run_id, [payload.dataset_input(training, dataset)])
    return run


def _has_epochs_of(store: Store, run: Run, result: Result) -> bool:
    """Return whether all logged epochs of an unfinished run are epochs of a result."""
    losses = read_history(result.files.history)["loss"]
    logged = store.client.get_metric_history(run.info.run_id, "loss")
    return all(losses.get(point.step) == point.value for point in logged)


def _make_current(store: Store, run: Run, result: Result) -> None:
    """Make a run the current one of its name, unless it is a row's run whose result a DVC experiment repeats."""
    experiment = result.revision.experiment
    name = payload.run_name(result.input.run, experiment)
    if not experiment and str(run.info.run_name).startswith(f"{name} ("):  # `dvc exp apply` made it the row's result
        store.client.update_run(run.info.run_id, name=name)
    if not experiment or run.info.run_name == name:
        store.make_current(run.info.run_id, name)


def _write_outputs(store: Store, run: Run, result: Result, *, with_model: bool) -> None:
    client = store.client
    run_id = run.info.run_id
    now = int(time.time() * 1000)
    store.log_missing(run_id, payload.history_metrics(result, now))
    client.log_artifacts(run_id, str(result.files.directory))
    if not result.files.plots.is_relative_to(result.files.directory):
        client.log_artifacts(run_id, str(result.files.plots), "plots")
    client.log_text(run_id, result.dataset.read_text(encoding="utf-8"), payload.DATASET_FILE)
    for diagram in result.diagrams:
        client.log_artifact(run_id, str(diagram), artifact_path="diagram")
    model_id = _log_model(store, run, result) if with_model else None
    final = payload.final_metrics(result, now, model_id)
    logged = run.data.metrics
    client.log_batch(run_id, [metric for metric in final if logged.get(metric.key) != metric.value])
    if run.info.status != FINISHED:
        metadata = result.metadata
        end = int((metadata.started + sum(metadata.epoch_seconds)) * 1000) if metadata else None
        store.terminate(run_id, FINISHED, end)


def _log_model(store: Store, run: Run, result: Result) -> str:
    """Log the model as an MLflow model with a signature and an example, once for each run, and return its id."""
    client, run_id = store.client, run.info.run_id
    logged = client.search_logged_models([store.experiment_id], f"source_run_id = '{run_id}'")
    if complete := [model for model in logged if has_files(model)]:
        return str(complete[0].model_id)
    model = (
        logged[0] if logged else client.create_logged_model(store.experiment_id, result.input.run, source_run_id=run_id)
    )

    with environment.tensorflow_import():
        import mlflow.keras

        from image_classifier.evaluate.saved_model import load_model

    keras_model = load_model(result.files.model)
    example = np.zeros((1, *keras_model.input_shape[1:]), np.float32)
    with TemporaryDirectory() as folder:
        mlflow.keras.save_model(
            keras_model,
            folder,
            mlflow_model=Model(artifact_path=model.artifact_location, run_id=run_id, model_id=model.model_id),
            signature=infer_signature(example, np.zeros((1, *keras_model.output_shape[1:]), np.float32)),
            input_example=example,
            metadata=payload.picture_task(result.dataset),
            pip_requirements=[f"{library}=={version(library)}" for library in SERVED_WITH],
        )
        client.log_model_artifacts(model.model_id, folder)
    outputs = run.outputs.model_outputs if run.outputs else []
    if model.model_id not in [output.model_id for output in outputs]:
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    return str(model.model_id)
