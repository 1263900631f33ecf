"""Logging of exported models and of the page of errors, which are made from recorded runs."""

from collections.abc import Iterable
from pathlib import Path

from image_classifier.config.schema import Params
from image_classifier.track.reader import find_recorded
from image_classifier.track.registry import find_model_run
from image_classifier.track.store import Store


def log_export(run: str, params: Params, folder: Path, kind: str) -> str | None:
    """Log an exported model and its proof to the MLflow run of a run, in place of an earlier export of this kind.

    Args:
        run: Name, id or address, see `reader.find_model`, which has loaded the model.
        params: Contents of params.yaml.
        folder: Folder with the exported model.
        kind: Format of the model, with its quantization if it has one.

    Returns:
        Id of the MLflow run, or None if MLflow does not have the run.

    Raises:
        FileNotFoundError: A file of the run is missing.
        InputError: MLflow cannot be reached or written.
    """
    if ":/" in run:
        store = Store(params.choose_data(None))
        run_id = find_model_run(store, run)
    else:
        found = find_recorded(run, params)
        if found is None:
            return None
        store, run_id = found
    with store.translate_errors():
        store.client.log_artifacts(run_id, str(folder), f"exports/{kind}")
    return run_id


def log_error_page(runs: Iterable[str], params: Params, page: Path) -> list[str]:
    """Log the page of errors to the MLflow run of each run, in place of an earlier page.

    Args:
        runs: Names of rows of params.yaml.
        params: Contents of params.yaml.
        page: HTML file.

    Returns:
        Names of the runs that MLflow has.

    Raises:
        FileNotFoundError: A file of a run is missing.
        InputError: MLflow cannot be reached or written.
    """
    logged = []
    for run in runs:
        if found := find_recorded(run, params):
            store, run_id = found
            with store.translate_errors():
                store.client.log_artifact(run_id, str(page))
            logged.append(run)
    return logged
