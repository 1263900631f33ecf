"""The model registry, whose alias names the model version that people use."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow.entities.model_registry import RegisteredModel
from mlflow.store.artifact.utils.models import get_model_name_and_version

from image_classifier import environment
from image_classifier.errors import InputError
from image_classifier.files import file_hashes
from image_classifier.track.store import MODEL_FILE, Store, lacks_files

if TYPE_CHECKING:
    import keras


CHAMPION = "champion"  # alias of the version that `image-classifier serve` serves
FILES_TAG = "files.md5"  # tag of a version: MD5 of each of its files, as JSON, which its promotion recorded


def find_registered(store: Store, model: str) -> RegisteredModel | None:
    """Return a registered model with its aliases and tags, or None if there is none."""
    with store.translate_errors():
        return next(iter(store.client.search_registered_models(f"name = '{model}'")), None)


def find_champion(store: Store, model: str) -> str | None:
    """Return the version of a registered model that is the champion, or None if there is none."""
    registered = find_registered(store, model)
    return champion_of(registered) if registered else None


def is_lost(store: Store, model: str, version: str) -> bool:
    """Return whether the files of a version of a registered model are lost."""
    with store.translate_errors():
        return lacks_files(store.client.get_model_version_download_uri(model, version), MODEL_FILE)


def champion_of(registered: RegisteredModel) -> str | None:
    """Return the version that has the alias of the champion, or None. A database gives it as a number."""
    version = registered.aliases.get(CHAMPION)
    return None if version is None else str(version)


def find_origin(store: Store, model: str, version: str) -> tuple[str, str]:
    """Return id and name of the run whose model is a version of a registered model."""
    with store.translate_errors():
        run = store.client.get_run(str(store.client.get_model_version(model, version).run_id))
    return str(run.info.run_id), str(run.info.run_name)


@contextmanager
def model_files(store: Store, model: str, version: str, *, check: bool = True) -> Iterator[Path]:
    """Yield a temporary folder with the files of a version of a registered model.

    Args:
        store: Store of the model.
        model: Name of the registered model.
        version: Version of it.
        check: Whether the files are compared with the MD5s that `record_files` recorded. A version without this record,
            which an earlier version of this project promoted, is not checked.

    Raises:
        InputError: The store cannot be reached, the files are lost, or one is not the recorded one.
    """
    with TemporaryDirectory() as folder:
        with store.translate_errors():
            tags = store.client.get_model_version(model, version).tags
            location = store.client.get_model_version_download_uri(model, version)
            if lacks_files(location, MODEL_FILE):
                raise InputError(
                    f"The files of version {version} of {model} are lost ({location}). Promote another run."
                )
            path = Path(mlflow.artifacts.download_artifacts(location, dst_path=folder, tracking_uri=store.uri))
        if check and FILES_TAG in tags:
            remedy = (
                f"Return to the previous champion: image-classifier promote --undo --data {model}. "
                'If the run was recorded again: image-classifier promote RUN --force "recorded again"'
            )
            check_hashes(_hash_model(path), json.loads(tags[FILES_TAG]), f"version {version} of {model}", remedy)
        yield path


def check_files(store: Store, model: str, version: str) -> None:
    """Raise `InputError` if files of a version are lost or damaged, as `model_files` does."""
    with model_files(store, model, version):
        pass


def record_files(store: Store, model: str, version: str) -> None:
    """Record the MD5 of each file of a version of a registered model."""
    with model_files(store, model, version, check=False) as path, store.translate_errors():
        store.client.set_model_version_tag(model, version, FILES_TAG, json.dumps(_hash_model(path)))


def _hash_model(folder: Path) -> dict[str, str]:
    """Hash all files of a model, except for one that MLflow adds when it loads the model by its address."""
    files = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    return file_hashes(folder, sorted(files - {"registered_model_meta"}))


def check_hashes(found: Mapping[str, str], recorded: Mapping[str, str], owner: str, remedy: str) -> None:
    """Compare the MD5s of files with recorded ones.

    Args:
        found: MD5 of each file.
        recorded: MD5 of each file that the record has.
        owner: Owner of the files, for the message.
        remedy: Last sentence of the message.

    Raises:
        InputError: A file is missing, was added or has another content.
    """
    for name in sorted({*found, *recorded}):
        if found.get(name) != recorded.get(name):
            raise InputError(f"{name} of {owner} is damaged: its MD5 is not the recorded one. {remedy}")


def load_address(store: Store, address: str) -> "keras.Model":
    """Load a model from its address in MLflow, such as models:/mnist/1 or models:/mnist@champion.

    The files of a version that was promoted are checked, see `model_files`.

    Raises:
        InputError: The store cannot be reached, or there is no such model, or its files cannot be loaded.
    """
    mlflow.set_tracking_uri(store.uri)
    with store.translate_errors():
        resolve: Any = get_model_name_and_version  # MLflow has no types for it
        version = resolve(store.client, address) if address.startswith("models:/") else ()
    if len(version) == 2:  # name and version; otherwise the model of a run
        with model_files(store, *version) as folder:
            return _load(store, str(folder))
    return _load(store, address)


def _load(store: Store, location: str) -> "keras.Model":
    with environment.tensorflow_import():
        from mlflow.keras import load_model
    with store.translate_errors():
        return load_model(location)  # type: ignore[no-untyped-call]


def find_model_run(store: Store, address: str) -> str:
    """Return the id of the run that logged the model at an address, such as models:/mnist@champion."""
    mlflow.set_tracking_uri(store.uri)
    with store.translate_errors():
        return str(mlflow.models.get_model_info(address).run_id)
