"""Backfill: recording in MLflow the results that DVC stores."""

from collections.abc import Iterator

from image_classifier.provenance.history import NotStoredError, StoredResult, restored, stored_results
from image_classifier.track.store import Store, exists
from image_classifier.track.writer import missing_results, record_result


def unrecorded_results(experiment: str, results: list[StoredResult]) -> list[StoredResult]:
    """Return the results that an experiment does not have, without creating the tracking store.

    Raises:
        InputError: MLflow cannot be reached.
    """
    return missing_results(Store(experiment), results) if exists() else results


def record_stored_results(experiment: str, *, dry_run: bool) -> Iterator[str]:
    """Record every stored result that an experiment does not have, and yield a line about each.

    Args:
        experiment: Name of the MLflow experiment.
        dry_run: Whether to list the missing results without recording them.

    Raises:
        InputError: MLflow cannot be reached or written.
    """
    results = stored_results()
    missing = unrecorded_results(experiment, results)
    yield f"DVC stores {len(results)} results; MLflow lacks {len(missing)} of them."
    if dry_run:
        yield from (f"Would record {stored}" for stored in missing)
        return
    store = Store(experiment)
    for stored in missing:
        try:
            with restored(stored) as result:
                yield f"Recorded {stored} as MLflow run {record_result(store, result).run_id}"
        except NotStoredError as error:
            yield f"Warning: {error}"
