"""The model registry: which model people use."""

from dataclasses import dataclass

import mlflow
from mlflow.entities import LoggedModelStatus
from mlflow.exceptions import MlflowException

from mnist_cnn.errors import InputError
from mnist_cnn.results import Result
from mnist_cnn.tracking import contents
from mnist_cnn.tracking.contents import RESULT_TAG
from mnist_cnn.tracking.record import is_complete
from mnist_cnn.tracking.store import Store


@dataclass(frozen=True)
class Promotion:
    """A move of an alias.

    Attributes:
        version: of the registered model that the alias now names.
        previous: the version that it named before.
    """

    version: str
    previous: str | None


def promote(store: Store, result: Result, model: str, alias: str) -> Promotion:
    """Register the model of a result, once, and let an alias name it.

    Args:
        store: that has the result.
        result: a documented run.
        model: the name in the registry.
        alias: that people load the model by.

    Raises:
        InputError: the store cannot be reached, or does not hold the complete result with its metrics.
    """
    mlflow.set_tracking_uri(store.uri)  # the registry of a SQLite file looks for the model there
    with store.explained(), store.locked():
        client = store.client
        run = next((run for run in store.find(RESULT_TAG, result.identity) if is_complete(run)), None)
        measured = contents.measured_on_test(result)
        if run is None or not measured or not measured.items() <= run.data.metrics.items():
            raise _not_recorded(result, "its metrics")
        of_run = f"source_run_id = '{run.info.run_id}'"
        models = client.search_logged_models([store.experiment_id], of_run)
        ready = next((logged for logged in models if logged.status == LoggedModelStatus.READY), None)
        if ready is None:
            raise _not_recorded(result, "its model")
        previous = aliased(store, model, alias)
        if not client.search_registered_models(f"name = '{model}'"):
            client.create_registered_model(model)
        versions = client.search_model_versions(f"name = '{model}' and run_id = '{run.info.run_id}'")
        version = (
            versions[0]
            if versions
            else client.create_model_version(
                model,
                f"models:/{ready.model_id}",
                run.info.run_id,
                description=contents.note(result),
                model_id=ready.model_id,
            )
        )
        client.set_registered_model_alias(model, alias, version.version)
    return Promotion(str(version.version), previous)


def aliased(store: Store, model: str, alias: str) -> str | None:
    """Return the version that an alias names; none if there is no such model or alias.

    Raises:
        InputError: the store cannot be reached.
    """
    with store.explained():
        try:
            return str(store.client.get_model_version_by_alias(model, alias).version)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise


def _not_recorded(result: Result, part: str) -> InputError:
    again = f"dvc repro --force --single-item track@{result.run}"
    return InputError(f"run={result.run} is not in MLflow with {part}. Record it: {again}")
