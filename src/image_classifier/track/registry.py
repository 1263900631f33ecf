"""The model registry, whose alias names the model version that people use."""

from typing import TYPE_CHECKING

import mlflow

from image_classifier import environment
from image_classifier.errors import InputError
from image_classifier.provenance.result import Result
from image_classifier.track import payload
from image_classifier.track.store import MODEL_FILE, RESULT_TAG, Store, has_files, lacks_files
from image_classifier.track.writer import record_result

if TYPE_CHECKING:
    import keras


CHAMPION = "champion"  # alias of the version that `image-classifier serve` serves


def promote(result: Result) -> tuple[str, str | None]:
    """Register the model of a result under the name of its data set, unless it is registered, and make it the champion.

    The record of an ad hoc run is completed first: a training from the command line logs no MLflow model.

    Args:
        result: Result of a pipeline run or an ad hoc run.

    Returns:
        Version of the registered model that is the champion now, and the version that was it before, if any.

    Raises:
        InputError: The store cannot be reached, or does not hold the complete result of a pipeline run with its metrics
            and model.
    """
    store, model = Store(result.data), result.data
    mlflow.set_tracking_uri(store.uri)  # the registry looks there for the logged model
    if not result.is_pipeline_run:
        record_result(store, result, with_model=True)
    with store.locked():
        client = store.client
        run = store.find_complete({RESULT_TAG: result.fingerprint})
        if run is None or not payload.test_metrics(result).items() <= run.data.metrics.items():
            raise _not_recorded(result, "its metrics")
        logged = client.search_logged_models([store.experiment_id], f"source_run_id = '{run.info.run_id}'")
        complete = [candidate for candidate in logged if has_files(candidate)]
        if not complete:
            raise _not_recorded(result, "its model")
        previous = find_champion(store, model)
        if not client.search_registered_models(f"name = '{model}'"):
            client.create_registered_model(model)
        versions = client.search_model_versions(f"name = '{model}' and run_id = '{run.info.run_id}'") or [
            client.create_model_version(
                model,
                f"models:/{complete[0].model_id}",
                run.info.run_id,
                description=payload.note(result),
                model_id=complete[0].model_id,
            )
        ]
        client.set_registered_model_alias(model, CHAMPION, versions[0].version)
    return str(versions[0].version), previous


def find_champion(store: Store, model: str) -> str | None:
    """Return the version of a registered model that is the champion, or None if there is none or its files are lost."""
    client = store.client
    with store.translate_errors():
        registered = client.search_registered_models(f"name = '{model}'")
        if not any(CHAMPION in found.aliases for found in registered):
            return None
        version = str(client.get_model_version_by_alias(model, CHAMPION).version)
        return None if lacks_files(client.get_model_version_download_uri(model, version), MODEL_FILE) else version


def find_origin(store: Store, model: str, version: str) -> tuple[str, str]:
    """Return id and name of the run whose model is a version of a registered model."""
    with store.translate_errors():
        run = store.client.get_run(str(store.client.get_model_version(model, version).run_id))
    return str(run.info.run_id), str(run.info.run_name)


def load_address(store: Store, address: str) -> "keras.Model":
    """Load a model from its address in MLflow, such as models:/mnist/1 or models:/mnist@champion.

    Raises:
        InputError: The store cannot be reached, or there is no such model, or its files cannot be loaded.
    """
    mlflow.set_tracking_uri(store.uri)
    with environment.tensorflow_import():
        from mlflow.keras import load_model
    with store.translate_errors():
        return load_model(address)  # type: ignore[no-untyped-call]


def find_model_run(address: str) -> str:
    """Return the id of the run whose model has an address in the store that `load_address` used last."""
    return str(mlflow.models.get_model_info(address).run_id)


def _not_recorded(result: Result, part: str) -> InputError:
    command = f"dvc repro --force --single-item track@{result.input.run}"
    return InputError(f"run={result.input.run} is not in MLflow with {part}. Record it: {command}")
