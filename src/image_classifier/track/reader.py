"""Reading of recorded runs."""

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import yaml
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_SOURCE_NAME

from image_classifier import environment, paths
from image_classifier.config.schema import Row
from image_classifier.dataset import CLASSES, Examples, read_arrays
from image_classifier.errors import InputError
from image_classifier.files import damage_named, file_hashes, read_history
from image_classifier.provenance.differences import Facts, training_facts
from image_classifier.provenance.fingerprint import TrainingInput
from image_classifier.provenance.result import read_result
from image_classifier.provenance.verify import RecordedRun
from image_classifier.track.payload import RECIPE_TAG
from image_classifier.track.registry import load_address
from image_classifier.track.store import RESULT_TAG, Store, is_complete

if TYPE_CHECKING:
    import keras

RUN_ID = re.compile(r"[0-9a-f]{6,32}")  # or the first digits of one


def find_run(run: str, table: dict[str, Row], experiment: str) -> tuple[Store, str]:
    """Return the tracking store and the id of a run in it.

    Args:
        run: Name of a row of params.yaml or of a folder of outputs/, or the id of an MLflow run or at least its first
            six digits.
        table: Rows of params.yaml.
        experiment: Name of the MLflow experiment.

    Raises:
        FileNotFoundError: A file of the run is missing.
        InputError: There is no such run, several ids begin with the digits, or MLflow cannot be reached.
    """
    if _is_local(run, table):
        result, store = read_result(run), Store(experiment)
        recorded = store.find_complete({RESULT_TAG: result.fingerprint})
        found = [recorded] if recorded else []
    elif RUN_ID.fullmatch(run):
        store = Store(experiment)
        if len(run) == 32:  # of any experiment
            return store, run
        with store.translate_errors():
            found = store.client.search_runs([store.experiment_id], f"attributes.run_id LIKE '{run}%'", max_results=2)
    else:
        rows = f"a row of params.yaml ({', '.join(table)})"
        raise InputError(f"{run} is not {rows}, a folder of outputs/ or the id of an MLflow run.")
    if len(found) > 1:
        raise InputError(f"{run}: several MLflow runs have ids with these first digits. Type more digits.")
    if not found:
        raise InputError(f"MLflow does not have {run}. Record results that only DVC has: image-classifier backfill")
    return store, str(found[0].info.run_id)


def _is_local(run: str, table: dict[str, Row]) -> bool:
    return run in table or paths.adhoc_run(run).model.exists()


def read_run(store: Store, run_id: str) -> RecordedRun:
    """Read the record of a run.

    Raises:
        InputError: The store cannot be reached, or does not have a complete, undamaged result with this id.
    """
    with TemporaryDirectory() as folder:
        with store.translate_errors():
            run = store.client.get_run(run_id)
        tags = run.data.tags
        if not is_complete(run):
            raise InputError(
                f"MLflow run {run_id} ({run.info.run_name}) does not hold the complete result of a training."
            )
        configuration, history = (
            _download(store, run_id, name, tags[f"dvc.{name}"], folder) for name in ("config.yaml", "history.csv")
        )
        text = configuration.read_text(encoding="utf-8")
        files = {path: md5 for path, md5 in _tags_below("dvc.", tags).items() if "/" in path}  # without the outputs
        return RecordedRun(
            run_id=run_id,
            input=TrainingInput(yaml.safe_load(text)["run"], tags[MLFLOW_SOURCE_NAME], text, files),
            fingerprint=tags[RESULT_TAG],
            commit=tags.get(MLFLOW_GIT_COMMIT),
            uncommitted=tags.get("git.uncommitted", "nothing"),
            environment=_tags_below("environment.", tags),
            history=read_history(history),
            model=tags["dvc.model.h5"],
            recipe=tags.get(RECIPE_TAG),
            train_images=_train_images(run),
        )


def _train_images(run: Run) -> int | None:
    inputs = run.inputs.dataset_inputs if run.inputs else []
    profile = inputs[0].dataset.profile if inputs else None
    return int(json.loads(profile)["train_images"]) if profile else None


def find_facts(run: str, table: dict[str, Row], experiment: str) -> Facts:
    """Return the recorded configuration, data, code and machine of a run.

    Args:
        run: Name or id, see `find_run`.
        table: Rows of params.yaml.
        experiment: Name of the MLflow experiment.

    Raises:
        FileNotFoundError, InputError: See `find_predictions`.
    """
    if not _is_local(run, table):
        record = read_run(*find_run(run, table, experiment))
        return training_facts(record.input, record.train_images, record.commit, record.environment)
    result = read_result(run)
    metadata = result.metadata
    if metadata is None:
        return training_facts(result.input, None, None, {})
    held_out = yaml.safe_load(result.input.configuration)["validation"]["size"]
    images = metadata.training_images + held_out
    return training_facts(result.input, images, metadata.revision.commit, metadata.environment)


def find_model(run: str, table: dict[str, Row], experiment: str) -> "keras.Model":
    """Load the model of a run.

    Args:
        run: Name or id, see `find_run`, or address of an MLflow model, such as models:/mnist@champion.
        table: Rows of params.yaml.
        experiment: Name of the MLflow experiment.

    Raises:
        FileNotFoundError: A file of the run is missing.
        InputError: There is no such run or model, it is not finished, or MLflow cannot be reached.
    """
    if ":/" in run:
        return load_address(Store(experiment), run)
    if _is_local(run, table):
        return _load(read_result(run).files.model)
    store, run_id = find_run(run, table, experiment)
    return _load_recorded(store, read_run(store, run_id))


def find_predictions(
    run: str, test: Examples, table: dict[str, Row], experiment: str, batch_size: int
) -> tuple[np.ndarray, str | None]:
    """Return the stored predictions of a run for the test images, or let its model predict.

    Args:
        run: Name or id, see `find_run`.
        test: Test images.
        table: Rows of params.yaml.
        experiment: Name of the MLflow experiment.
        batch_size: Images per forward step; decides speed and memory.

    Returns:
        Class probabilities, float32, (n, 10), and the recipe fingerprint of the run if it is known.

    Raises:
        FileNotFoundError: A file of the run is missing.
        InputError: There is no such run, it is not finished, its stored predictions are for other images, or MLflow
            cannot be reached.
    """
    if _is_local(run, table):
        result = read_result(run)
        if not result.is_pipeline_run:
            return _predict(_load(result.files.model), test, batch_size), result.recipe
        with damage_named(result.files.predictions):
            probabilities, labels = read_arrays(result.files.predictions, ("probabilities", "labels")).values()
            if not np.array_equal(labels, test.labels):
                raise InputError(
                    f"{result.files.predictions} and data/prepared/ have other test images. Type: dvc repro"
                )
            if probabilities.shape != (len(labels), CLASSES):
                raise ValueError(f"its probabilities have the shape {probabilities.shape}")
        return probabilities, result.recipe
    store, run_id = find_run(run, table, experiment)
    record = read_run(store, run_id)
    return _predict(_load_recorded(store, record), test, batch_size), record.recipe


def _download(store: Store, run_id: str, name: str, md5: str, folder: str) -> Path:
    """Download a file of a run and compare it with the MD5 of the record."""
    with store.translate_errors():
        path = Path(store.client.download_artifacts(run_id, name, folder))
    if file_hashes(path.parent, [name]) != {name: md5}:
        again = "Record the run again: python -m pipelines.track run=…"
        raise InputError(f"{name} of MLflow run {run_id} is damaged: its MD5 is not the recorded one. {again}")
    return path


def _load_recorded(store: Store, record: RecordedRun) -> "keras.Model":
    with TemporaryDirectory() as folder:
        return _load(_download(store, record.run_id, "model.h5", record.model, folder))


def _load(path: Path) -> "keras.Model":
    with environment.tensorflow_import():
        from image_classifier.evaluate.saved_model import load_model

    return load_model(path)


def _predict(model: "keras.Model", test: Examples, batch_size: int) -> np.ndarray:
    probabilities: np.ndarray = model.predict(test.images, batch_size=batch_size, verbose=0)
    return probabilities


def _tags_below(prefix: str, tags: dict[str, str]) -> dict[str, str]:
    return {name.removeprefix(prefix): value for name, value in tags.items() if name.startswith(prefix)}
