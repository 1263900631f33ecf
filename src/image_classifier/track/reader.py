"""Reading of recorded runs."""

import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import yaml
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_PARENT_RUN_ID, MLFLOW_SOURCE_NAME

from image_classifier import environment, paths
from image_classifier.compare.pair import compare_pair
from image_classifier.compare.predictions import read_probabilities
from image_classifier.compare.significance import RunTest
from image_classifier.config.schema import Compare, Params
from image_classifier.dataset import Examples, load_examples
from image_classifier.errors import InputError
from image_classifier.evaluate.calibration import UNCALIBRATED, Calibration, read_calibration
from image_classifier.fetch.pictures import PictureTask
from image_classifier.files import file_hashes, read_history
from image_classifier.provenance.differences import Facts, training_facts
from image_classifier.provenance.fingerprint import TrainingInput
from image_classifier.provenance.result import RecordedRun, check_training_data, read_result
from image_classifier.track.payload import DATASET_FILE, RECIPE_TAG, picture_task
from image_classifier.track.registry import check_hashes, find_model_run, load_address
from image_classifier.track.store import RESULT_TAG, SUPERSEDED_TAG, Store, is_complete

if TYPE_CHECKING:
    import keras

RUN_ID = re.compile(r"[0-9a-f]{6,32}")  # or the first digits of one


def find_run(run: str, params: Params) -> tuple[Store, str]:
    """Return the tracking store and the id of a run in it.

    Args:
        run: Name of a row of params.yaml or of a folder of outputs/, or the id of an MLflow run or at least its first
            six digits.
        params: Contents of params.yaml.

    Raises:
        FileNotFoundError: A file of the run is missing.
        InputError: There is no such run, several ids begin with the digits, or MLflow cannot be reached.
    """
    found = find_recorded(run, params)
    if found is None:
        remedy = "Record results that only DVC has: image-classifier backfill. For a sweep: image-classifier add-run"
        raise InputError(f"MLflow has no run {run}. {remedy}")
    return found


def find_recorded(run: str, params: Params) -> tuple[Store, str] | None:
    """Return store and run id as `find_run` does, or None if MLflow does not have the run.

    Raises:
        FileNotFoundError, InputError: See `find_run`.
    """
    if _is_local(run, params):
        result = read_result(run)
        store = Store(result.data)
        recorded = store.find_complete({RESULT_TAG: result.fingerprint})
        return (store, str(recorded.info.run_id)) if recorded else None
    if not RUN_ID.fullmatch(run):
        choices = ", ".join(dict.fromkeys([*params.runs, *paths.finished_adhoc_runs()]))
        raise InputError(f"{run} is not the name of a run ({choices}) or the id of an MLflow run.")
    if len(run) == 32:  # a complete id can belong to any experiment
        return Store(params.choose_data(None)), run
    found: list[tuple[Store, str]] = []
    for store in map(Store, params.datasets):
        with store.translate_errors():
            query = f"attributes.run_id LIKE '{run}%'"
            runs = store.client.search_runs([store.experiment_id], query, max_results=2)
        found += [(store, str(one.info.run_id)) for one in runs]
    if len(found) > 1:
        raise InputError(f"{run}: several MLflow runs have ids with these first digits. Type more digits.")
    return found[0] if found else None


def _is_local(run: str, params: Params) -> bool:
    return run in params.runs or paths.adhoc_run(run).model.exists()


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
            place = f"MLflow run {run_id} ({run.info.run_name})"
            remedy = "If it is still running, wait; otherwise record it: python -m pipelines.track run=NAME"
            raise InputError(f"{place} does not hold the complete result of a training. {remedy}")
        configuration = _download(store, run_id, "config.yaml", tags["dvc.config.yaml"], folder)
        history = _download(store, run_id, "history.csv", tags["dvc.history.csv"], folder)
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
            training_images=int(run.data.params["training_images"]),
        )


def find_facts(run: str, params: Params) -> Facts:
    """Return the recorded configuration, data, code and machine of a run.

    Args:
        run: Name or id, see `find_run`.
        params: Contents of params.yaml.

    Raises:
        FileNotFoundError, InputError: See `find_predictions`.
    """
    if not _is_local(run, params):
        record = read_run(*find_run(run, params))
        return training_facts(record.input, record.training_images, record.commit, record.environment)
    result = read_result(run)
    metadata = result.metadata
    if metadata is None:
        return training_facts(result.input, None, None, {})
    return training_facts(result.input, metadata.training_images, metadata.revision.commit, metadata.environment)


def find_model(run: str, params: Params) -> tuple["keras.Model", PictureTask, Calibration]:
    """Load the model of a run, the task that it solves, and its calibration.

    Args:
        run: Name or id, see `find_run`, or address of an MLflow model, such as models:/mnist@champion.
        params: Contents of params.yaml.

    Raises:
        FileNotFoundError: A file of the run, or the data set of an ad hoc run, is missing.
        InputError: There is no such run or model, it is not finished, its data set has changed since, or MLflow cannot
            be reached.
    """
    if ":/" in run:
        store = Store(params.choose_data(None))
        model = load_address(store, run)
        run_id = find_model_run(store, run)
        return model, read_task(store, run_id), find_calibration(store, run_id)
    if _is_local(run, params):
        result = read_result(run)
        if not result.is_pipeline_run:
            check_training_data(result)
        task = PictureTask.from_fields(picture_task(result.dataset))
        return _load(result.files.model), task, read_calibration(result.files.calibration)
    store, run_id = find_run(run, params)
    model = _load_recorded(store, run_id, read_run(store, run_id).model)
    return model, read_task(store, run_id), find_calibration(store, run_id)


def read_task(store: Store, run_id: str) -> PictureTask:
    """Return the task that the model of a recorded run solves.

    Raises:
        InputError: The store cannot be reached, or does not have it.
    """
    with TemporaryDirectory() as folder, store.translate_errors():
        report = Path(store.client.download_artifacts(run_id, DATASET_FILE, folder))
        return PictureTask.from_fields(picture_task(report))


def find_calibration(store: Store, run_id: str) -> Calibration:
    """Return the calibration of a recorded run, which runs without held-out images and older runs do not have.

    Raises:
        InputError: The store cannot be reached, or the file is damaged.
    """
    with TemporaryDirectory() as folder, store.translate_errors():
        if paths.CALIBRATION_FILE not in [file.path for file in store.client.list_artifacts(run_id)]:
            return UNCALIBRATED
        return read_calibration(Path(store.client.download_artifacts(run_id, paths.CALIBRATION_FILE, folder)))


def load_other_models(store: Store, run_id: str) -> Iterator[tuple[str, "keras.Model", Calibration]]:
    """Yield name, model and calibration of each other run that solves the same task as a run, oldest first.

    These are the current, complete runs, without trials and replicates. Prints a warning about each one that was
    trained for other classes or images of another size, or whose model cannot be loaded.

    Args:
        store: Store of the runs.
        run_id: Id of the run whose task they solve.

    Raises:
        InputError: The store cannot be reached.
    """
    query = f"tags.`{SUPERSEDED_TAG}` IS NULL and tags.`{MLFLOW_PARENT_RUN_ID}` IS NULL"
    with store.translate_errors():
        runs = store.client.search_runs([store.experiment_id], query, order_by=["start_time ASC"])
    task = read_task(store, run_id)
    for run in (run for run in runs if is_complete(run) and run.info.run_id != run_id):
        try:
            if read_task(store, run.info.run_id) != task:
                raise InputError("It was trained for other classes, or images of another size.")
            model = _load_recorded(store, run.info.run_id, run.data.tags["dvc.model.h5"])
            calibration = find_calibration(store, run.info.run_id)
        except (InputError, FileNotFoundError) as error:
            print(f"Warning: {run.info.run_name} is left out. {error}", file=sys.stderr)
        else:
            yield run.info.run_name, model, calibration


def find_predictions(run: str, test: Examples, params: Params, batch_size: int) -> tuple[np.ndarray, str | None]:
    """Return the stored predictions of a run for the test images, or let its model predict if there are none.

    Args:
        run: Name or id, see `find_run`.
        test: Test images.
        params: Contents of params.yaml.
        batch_size: Images per forward step; decides speed and memory.

    Returns:
        Class probabilities, float32, (n, classes), and the recipe fingerprint of the run if it is known.

    Raises:
        FileNotFoundError: A file of the run is missing.
        InputError: There is no such run, it is not finished, it has other classes or other images than the data set, or
            MLflow cannot be reached.
    """
    if _is_local(run, params):
        result = read_result(run)
        if not result.is_pipeline_run:
            check_training_data(result)
            return _predict(_load(result.files.model), test, batch_size), result.recipe
        return read_probabilities(result.files.predictions, test), result.recipe
    store, run_id = find_run(run, params)
    record = read_run(store, run_id)
    task = read_task(store, run_id)
    if (task.classes, task.image_shape) != (test.classes, test.images.shape[1:]):
        raise InputError(f"{run} is trained for other classes or images of another size than data/prepared/ has.")
    # Without stored predictions for these images, the model predicts
    with TemporaryDirectory() as folder, suppress(FileNotFoundError, InputError), store.translate_errors():
        stored = store.client.download_artifacts(run_id, "predictions.npz", folder)
        return read_probabilities(Path(stored), test), record.recipe
    return predict_recorded(store, record, test, batch_size), record.recipe


def predict_recorded(store: Store, record: RecordedRun, test: Examples, batch_size: int) -> np.ndarray:
    """Return the class probabilities that the recorded model of a run predicts, float32, (n, classes).

    Args:
        store: Store of the run.
        record: Record of the run.
        test: Test images.
        batch_size: Images per forward step; decides speed and memory.

    Raises:
        FileNotFoundError: The store does not have the model.
        InputError: The model is damaged, or MLflow cannot be reached.
    """
    return _predict(_load_recorded(store, record.run_id, record.model), test, batch_size)


def compare_two_runs(
    first: str, second: str, data: str, params: Params, config: Compare, *, second_name: str | None = None
) -> tuple[list[RunTest], list[str]]:
    """Compare two runs by their predictions for the test images of a data set, see `compare_pair`.

    Args:
        first: Name or id of the first run, see `find_run`.
        second: Name or id of the second run.
        data: Name of the data set.
        params: Contents of params.yaml.
        config: Configuration of comparisons.
        second_name: Name of the second run in the comparison; None stands for `second`.

    Raises:
        FileNotFoundError, InputError: See `find_predictions`.
    """
    test = load_examples(paths.prepared_data(data), "test")
    probabilities = {}
    recipes = {}
    for name, run in {first: first, second_name or second: second}.items():
        probabilities[name], recipes[name] = find_predictions(run, test, params, config.batch_size)
    return compare_pair(first, second_name or second, probabilities, test.labels, recipes, config)


def _download(store: Store, run_id: str, name: str, md5: str, folder: str) -> Path:
    """Download a file of a run and compare it with the MD5 of the record."""
    with store.translate_errors():
        path = Path(store.client.download_artifacts(run_id, name, folder))
    again = "Record the run again: python -m pipelines.track run=…"
    check_hashes(file_hashes(path.parent, [name]), {name: md5}, f"MLflow run {run_id}", again)
    return path


def _load_recorded(store: Store, run_id: str, md5: str) -> "keras.Model":
    with TemporaryDirectory() as folder:
        return _load(_download(store, run_id, "model.h5", md5, folder))


def _load(path: Path) -> "keras.Model":
    with environment.tensorflow_import():
        from image_classifier.evaluate.saved_model import load_model

    return load_model(path)


def _predict(model: "keras.Model", test: Examples, batch_size: int) -> np.ndarray:
    from image_classifier.evaluate.metrics import predict  # imports TensorFlow, as the model has

    return predict(model, test.images, batch_size)


def _tags_below(prefix: str, tags: dict[str, str]) -> dict[str, str]:
    return {name.removeprefix(prefix): value for name, value in tags.items() if name.startswith(prefix)}
