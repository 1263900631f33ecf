"""The tracking store: its address, its lock, and the search for runs."""

import logging
import os
import re
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, LoggedModel, LoggedModelStatus, Metric, Param, Run, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from image_classifier import paths
from image_classifier.errors import InputError
from image_classifier.files import atomic_write
from image_classifier.provenance.run_metadata import OUTPUTS

SQLITE = "sqlite:///"
INPUT_TAG, RESULT_TAG = "input_fingerprint", "result_fingerprint"
SUPERSEDED_TAG = "superseded_by"  # id of the current run of the same name
FINISHED, RUNNING = RunStatus.to_string(RunStatus.FINISHED), RunStatus.to_string(RunStatus.RUNNING)
MODEL_FILE = "MLmodel"  # description of a model in MLflow's format
LOCATION_COLUMNS = (  # in MLflow's database: table and column
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)

logging.getLogger("mlflow").setLevel(logging.CRITICAL)  # errors are raised as well: no second stack trace


def tracking_uri() -> str:
    """Return MLFLOW_TRACKING_URI, which defaults to the SQLite file in the project.

    Raises:
        InputError: It is neither a server nor a SQLite file with an absolute path. A database without a server would
            leave the artifacts of its runs on the machine that wrote them.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or sqlite_uri(paths.TRACKING_DATABASE)
    if uri.startswith("sqlite:") and not uri.startswith(f"{SQLITE}/"):
        raise InputError(f"MLFLOW_TRACKING_URI={uri} has a relative path. Write an absolute one: sqlite:////…")
    if "://" in uri and not uri.startswith((SQLITE, "http://", "https://")):
        masked = make_url(uri).render_as_string()  # without the password
        server = f"mlflow server --backend-store-uri {masked} --artifacts-destination …"
        raise InputError(f"MLFLOW_TRACKING_URI={masked} has no place for files. Start a server and name it: {server}")
    if "://" not in uri:
        raise InputError(f"MLFLOW_TRACKING_URI={uri} is not a URI. Write http://…, https://… or sqlite:////…")
    return uri


def sqlite_uri(database: Path) -> str:
    """Return the URI of a SQLite file, with the two characters escaped that SQLAlchemy would interpret.

    All others stay: MLflow creates the parent folder of the file from the text of the URI.
    """
    return f"{SQLITE}{database}".replace("%", "%25").replace("?", "%3F")


def sqlite_file(uri: str) -> Path | None:
    """Return the file of a tracking store, or None if the store is not a SQLite file."""
    return Path(make_url(uri).database or "") if uri.startswith(SQLITE) else None


def lacks_files(location: str, *names: str) -> bool:
    """Return whether an artifact location is a folder of this machine and lacks one of these files."""
    folder = _local_folder(location)
    return folder is not None and not all((folder / name).exists() for name in names)


def is_complete(run: Run) -> bool:
    """Return whether a run holds its complete result, including the files if they are on this machine."""
    is_finished = RESULT_TAG in run.data.tags and run.info.status == FINISHED
    return is_finished and not lacks_files(run.info.artifact_uri, *OUTPUTS)


def has_files(model: LoggedModel) -> bool:
    """Return whether the files of a logged model were logged completely and, if they are on this machine, exist."""
    return bool(model.status == LoggedModelStatus.READY) and not lacks_files(model.artifact_location, MODEL_FILE)


def _local_folder(uri: str) -> Path | None:
    return Path(url2pathname(urlsplit(uri).path)) if uri.startswith("file:") else None


class Store:
    """An experiment in the tracking store, which is created if it does not exist.

    All methods, and all functions of this package that take a store, raise `InputError` if the store cannot be reached
    or written.

    Attributes:
        uri: URI of the tracking store.
        is_server: Whether the store is an MLflow server.
        client: MLflow's client of the store.
        experiment_id: Id of the experiment.
    """

    def __init__(self, experiment: str) -> None:
        """Connect to the store.

        Args:
            experiment: Name of the experiment.

        Raises:
            InputError: The store cannot be reached or written, or the experiment was deleted.
        """
        self.uri = tracking_uri()
        self.is_server = self.uri.startswith(("http:", "https:"))
        database = sqlite_file(self.uri)
        with self.locked():
            if database and not database.exists():
                with atomic_write(database) as path:  # a killed process leaves no incomplete database
                    MlflowClient(sqlite_uri(path)).search_experiments(max_results=1)
            self.client = MlflowClient(self.uri)
            found = self.client.get_experiment_by_name(experiment)
            if found and found.lifecycle_stage != LifecycleStage.ACTIVE:
                restore = f"mlflow experiments restore --experiment-id {found.experiment_id}"
                raise InputError(f"MLflow's experiment {experiment} was deleted. Restore it: {restore}")
            if found and database:
                _follow_move(database, found.artifact_location)
            location = None if self.is_server else paths.artifacts_of(database or paths.TRACKING_DATABASE).as_uri()
            self.experiment_id = found.experiment_id if found else self.client.create_experiment(experiment, location)

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Raise errors of MLflow, its database and its server as an `InputError` that names the store."""
        try:
            yield
        except FileNotFoundError:  # a file of a run
            raise
        except (MlflowException, SQLAlchemyError, ImportError, OSError) as error:
            cause = _root_cause(error)
            reason = (str(cause) or type(cause).__name__).splitlines()[0]
            place = make_url(self.uri).render_as_string(hide_password=True)
            raise InputError(f"MLflow at {place}: {reason.rstrip('.')}. {_remedy(reason)}") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Translate errors, and let one process at a time look for a run and create it.

        The lock covers all processes that use the same SQLite file or, with a server, the same project folder.
        """
        database = sqlite_file(self.uri) or paths.TRACKING_DATABASE
        with self.translate_errors():
            database.parent.mkdir(parents=True, exist_ok=True)
            can_write = os.access(database.parent, os.W_OK)  # without the right to write, nothing has to be locked
            with FileLock(f"{database}.lock") if can_write else nullcontext():
                yield

    def find(self, tags: dict[str, str]) -> list[Run]:
        """Return the runs with these tags, oldest first."""
        query = " and ".join(f"tags.`{tag}` = '{value}'" for tag, value in tags.items())
        with self.translate_errors():
            return list(self.client.search_runs([self.experiment_id], query, order_by=["start_time ASC"]))

    def find_first(self, tags: dict[str, str]) -> Run | None:
        """Return the oldest run with these tags, or None."""
        return next(iter(self.find(tags)), None)

    def find_complete(self, tags: dict[str, str]) -> Run | None:
        """Return the oldest run with these tags that holds its complete result, or None."""
        return next((run for run in self.find(tags) if is_complete(run)), None)

    def make_current(self, run_id: str, name: str) -> None:
        """Tag all runs of a name as superseded by one of them, except for runs that are still open.

        Call it in `locked`.
        """
        pattern = name.replace("'", "_")  # which stands for any character: a query cannot contain the quote
        found = self.client.search_runs([self.experiment_id], f"attributes.run_name LIKE '{pattern}'")
        for run in (run for run in found if run.info.run_name == name):
            newer = run.data.tags.get(SUPERSEDED_TAG)
            if run.info.run_id == run_id:
                if newer:
                    self.client.delete_tag(run_id, SUPERSEDED_TAG)
            elif newer != run_id and run.info.status != RUNNING:
                self.client.set_tag(run.info.run_id, SUPERSEDED_TAG, run_id)

    def log_params_and_tags(self, run: Run, params: dict[str, str], tags: dict[str, str]) -> None:
        """Log tags, and the parameters that the run lacks: MLflow does not change a parameter."""
        with self.translate_errors():
            self.client.log_batch(
                run.info.run_id,
                params=[Param(name, value) for name, value in params.items() if name not in run.data.params],
                tags=[RunTag(name, value) for name, value in tags.items()],
            )

    def log_missing(self, run_id: str, metrics: list[Metric]) -> None:
        """Log the metrics for whose steps the run has no value yet."""
        with self.translate_errors():
            names = {metric.key for metric in metrics}
            logged = {(name, point.step) for name in names for point in self.client.get_metric_history(run_id, name)}
            self.client.log_batch(run_id, [metric for metric in metrics if (metric.key, metric.step) not in logged])

    def terminate(self, run_id: str, status: str, end: int | None = None) -> None:
        """End a run now or at `end`, in milliseconds since 1970, but not before its start: a clock can be set back."""
        start = self.client.get_run(run_id).info.start_time
        self.client.set_terminated(run_id, status, max(start, int(time.time() * 1000) if end is None else end))


def _follow_move(database: Path, location: str) -> None:
    """Correct the absolute artifact locations of a SQLite file that was moved or copied together with its artifacts.

    Args:
        database: The SQLite file.
        location: Artifact location of an experiment.
    """
    match = re.match(f".*/{paths.ARTIFACTS}(?=/|$)", location)
    root = paths.artifacts_of(database)
    old_uri = match[0] if match else ""
    old = _local_folder(old_uri)
    if old is None or old.resolve() == root.resolve() or (old.exists() and not root.exists()):
        return
    print(f"MLflow's files were in {old}. Their locations in {database} now name {root}.", file=sys.stderr)
    with closing(sqlite3.connect(database)) as connection, connection:
        for table, column in LOCATION_COLUMNS:
            condition = f"instr({column} || '/', ?) = 1"
            update = f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE {condition}"  # noqa: S608  # constants
            connection.execute(update, (root.as_uri(), len(old_uri) + 1, f"{old_uri}/"))


def _remedy(reason: str) -> str:
    """Return the remedy for an error of the store, from its text: each database and library has its own exceptions."""
    if re.search("disk is full|No space left", reason):
        return "The disk is full. Make room, and type the same command again."
    if re.search("malformed|not a database", reason):
        return "The file is damaged. Move it aside, then type: image-classifier backfill"
    if "database is locked" in reason:
        return "Another process writes to it. Wait for it or end it, and type the same command again."
    if re.search("(Registered Model|Model Version|Logged model) .*not found", reason, re.IGNORECASE):
        return "Correct the address of the model, or promote a run: image-classifier promote RUN"
    return "Check MLFLOW_TRACKING_URI and the server."


def _root_cause(error: BaseException) -> BaseException:
    """Return the first error of a chain: MLflow, SQLAlchemy and requests wrap a short message in several long ones."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return error
