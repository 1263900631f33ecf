"""Backfill: recording in MLflow the results that DVC stores, and the search for what MLflow lacks."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_SOURCE_NAME

from image_classifier import paths
from image_classifier.errors import BusyError, InputError
from image_classifier.files import acquire_lock
from image_classifier.provenance.history import StoredResult, restore, stored_results
from image_classifier.provenance.result import Result
from image_classifier.provenance.revision import open_repository
from image_classifier.track.payload import EXPERIMENT_TAG
from image_classifier.track.store import RESULT_TAG, Store, sqlite_file, tracking_uri
from image_classifier.track.sweeps import SWEEP_TAG
from image_classifier.track.writer import record_result

AnyResult = TypeVar("AnyResult", Result, StoredResult)


def missing_results(stored: list[AnyResult]) -> list[AnyResult]:
    """Return the results that MLflow does not hold completely, without creating the tracking store.

    Raises:
        InputError: MLflow cannot be reached.
    """
    database = sqlite_file(tracking_uri())
    if database and not database.exists():
        return stored
    stores = {data: Store(data) for data in {result.data for result in stored}}
    return [result for result in stored if not stores[result.data].find_complete({RESULT_TAG: result.fingerprint})]


def abandoned_runs(experiment: str) -> Iterator[tuple[str, str, str]]:
    """Yield id, name and command of each open run of an experiment that no process trains.

    Runs are judged only in the project's own database: trainings in other folders and on other machines are unknown.

    Raises:
        InputError: MLflow cannot be read.
    """
    if sqlite_file(tracking_uri()) != paths.TRACKING_DATABASE or not paths.TRACKING_DATABASE.exists():
        return
    store = Store(experiment)
    with store.translate_errors():
        runs = store.client.search_runs([store.experiment_id], "attributes.status = 'RUNNING'")
    sweeping = _is_locked(paths.SWEEP_LOCK)
    for run in runs:
        name = str(run.info.run_name)
        tags = run.data.tags
        if SWEEP_TAG in tags or MLFLOW_PARENT_RUN_ID in tags:
            active = sweeping
        else:
            row = name.partition(" (")[0]  # without the name of a DVC experiment
            active = any(_is_locked(lock) for lock in paths.training_locks(row))
        if not active:
            command = tags.get(MLFLOW_SOURCE_NAME, "the sweep")
            yield str(run.info.run_id), name, "dvc exp run with its values" if EXPERIMENT_TAG in tags else command


def _is_locked(lock: Path) -> bool:
    try:
        if lock.exists():
            acquire_lock(lock, "").release()
    except BusyError:
        return True
    return False


def record_stored_results(*, dry_run: bool) -> Iterator[str]:
    """Record every stored result that MLflow does not have, and yield a line about each.

    Args:
        dry_run: Whether to restore the missing results without recording them.

    Raises:
        InputError: MLflow cannot be reached or written.
    """
    results = stored_results()
    missing = missing_results(results)
    if open_repository() is None:
        yield f"{paths.ROOT} is not a git repository: only the workspace was searched, not its history."
    yield f"DVC stores {len(results)} results; MLflow lacks {len(missing)} of them."
    for stored in missing:
        with TemporaryDirectory() as folder:
            try:
                result = restore(stored, Path(folder))
            except InputError as error:
                yield f"Warning: {error}"
                continue
            if dry_run:
                yield f"Would record {stored}"
            else:
                yield f"Recorded {stored} as MLflow run {record_result(Store(result.data), result)}"
    for data in () if dry_run else dict.fromkeys(stored.data for stored in results):
        mark_current(Store(data), [stored.fingerprint for stored in results])


def mark_current(store: Store, results: Iterable[str]) -> None:
    """Mark results as the current ones of their names, and all other results of the same names as superseded.

    Args:
        store: Store of an experiment.
        results: Fingerprints of results, some of which the store has; of several with the same name, the last one is
            current.

    Raises:
        InputError: MLflow cannot be reached or written.
    """
    found = [run for result in results if (run := store.find_complete({RESULT_TAG: result}))]
    with store.locked():
        for name, run_id in {str(run.info.run_name): run.info.run_id for run in found}.items():
            store.make_current(run_id, name)
