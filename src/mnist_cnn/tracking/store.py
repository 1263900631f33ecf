"""The tracking store: where it is, and what it holds."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Run
from mlflow.exceptions import MlflowException
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from mnist_cnn import paths
from mnist_cnn.errors import InputError

SQLITE = "sqlite:///"

logging.getLogger("mlflow").setLevel(logging.CRITICAL)  # its errors are raised as well: no stack traces beside them


def address() -> str:
    """Return MLFLOW_TRACKING_URI, or that of the SQLite file in the project.

    Raises:
        InputError: it is no URI, or names a SQLite file by a relative path, which is another file in every folder.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{paths.TRACKING_DATABASE}"
    if uri.startswith("sqlite:") and not uri.startswith(f"{SQLITE}/"):
        raise InputError(f"MLFLOW_TRACKING_URI={uri} is relative, experiments run elsewhere: sqlite:////…")
    if "://" not in uri:
        raise InputError(f"MLFLOW_TRACKING_URI={uri} is no URI: http://…, https://…, postgresql://… or sqlite:////…")
    return uri


def exists() -> bool:
    """Tell whether there is a store; what is not a SQLite file exists, until it is used."""
    uri = address()
    return not uri.startswith(SQLITE) or Path(uri.removeprefix(SQLITE)).exists()


class Store:
    """An experiment in the tracking store; made when it does not exist.

    Attributes:
        uri: of the store.
        client: MLflow's.
        experiment_id: of the experiment.
    """

    def __init__(self, experiment: str) -> None:
        """Connect.

        Raises:
            InputError: the store cannot be reached or written.
        """
        self.uri = address()
        with self.explained(), self.locked():
            _create_database(self.uri)
            self.client = MlflowClient(self.uri)
            found = self.client.get_experiment_by_name(experiment)
            if found and found.lifecycle_stage != LifecycleStage.ACTIVE:
                restore = f"mlflow experiments restore --experiment-id {found.experiment_id}"
                raise InputError(f"MLflow's experiment {experiment} was deleted. Restore it: {restore}")
            self.experiment_id = found.experiment_id if found else self._create_experiment(experiment)

    def _create_experiment(self, name: str) -> str:
        server_decides = self.uri.startswith(("http:", "https:"))
        location = None if server_decides else paths.TRACKING_ARTIFACTS.as_uri()
        return str(self.client.create_experiment(name, location))

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn what MLflow raises in the block into an `InputError` that names the store."""
        try:
            yield
        except FileNotFoundError:
            raise
        except (MlflowException, SQLAlchemyError, ImportError, OSError) as error:
            cause = _root_cause(error)
            reason = (str(cause) or type(cause).__name__).splitlines()[0]
            place = make_url(self.uri).render_as_string(hide_password=True)
            raise InputError(f"MLflow at {place}: {reason}. Check MLFLOW_TRACKING_URI and the server.") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let one process at a time look for a run and create it: of all that use a SQLite file, or this folder."""
        database = Path(self.uri.removeprefix(SQLITE)) if self.uri.startswith(SQLITE) else paths.TRACKING_DATABASE
        database.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{database}.lock"):
            yield

    def find(self, tag: str, value: str) -> list[Run]:
        """Return the runs with this value of a tag, oldest first."""
        return list(
            self.client.search_runs([self.experiment_id], f"tags.`{tag}` = '{value}'", order_by=["start_time ASC"])
        )


def _root_cause(error: BaseException) -> BaseException:
    """Find what MLflow, SQLAlchemy and requests wrap: one short line instead of several long ones."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return error


def _create_database(uri: str) -> None:
    """Let MLflow create a SQLite file before anybody sees it: one that is killed meanwhile leaves nothing."""
    database = Path(uri.removeprefix(SQLITE))
    if uri.startswith(SQLITE) and not database.exists():
        with paths.replacing(database) as path:
            MlflowClient(f"{SQLITE}{path}").search_experiments(max_results=1)
