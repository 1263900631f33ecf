"""Backfill: recording in MLflow the results that DVC stores."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from image_classifier.errors import InputError
from image_classifier.provenance.history import StoredResult, restore, stored_results
from image_classifier.track.store import RESULT_TAG, Store, sqlite_file, tracking_uri
from image_classifier.track.writer import record_result


def missing_results(experiment: str, stored: list[StoredResult]) -> list[StoredResult]:
    """Return the results that an experiment does not hold completely, without creating the tracking store.

    Raises:
        InputError: MLflow cannot be reached.
    """
    database = sqlite_file(tracking_uri())
    if database and not database.exists():
        return stored
    store = Store(experiment)
    return [result for result in stored if not store.find_complete({RESULT_TAG: result.fingerprint})]


def record_stored_results(experiment: str, *, dry_run: bool) -> Iterator[str]:
    """Record every stored result that an experiment does not have, and yield a line about each.

    Args:
        experiment: Name of the MLflow experiment.
        dry_run: Whether to list the missing results without recording them.

    Raises:
        InputError: MLflow cannot be reached or written.
    """
    results = stored_results()
    missing = missing_results(experiment, results)
    yield f"DVC stores {len(results)} results; MLflow lacks {len(missing)} of them."
    if dry_run:
        yield from (f"Would record {stored}" for stored in missing)
        return
    store = Store(experiment)
    for stored in missing:
        with TemporaryDirectory() as folder:
            try:
                result = restore(stored, Path(folder))
            except InputError as error:
                yield f"Warning: {error}"
                continue
            yield f"Recorded {stored} as MLflow run {record_result(store, result)}"
