"""Reading, hashing, locking and atomically replacing files."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psutil
import yaml
from filelock import FileLock, Timeout

from image_classifier import paths
from image_classifier.errors import BusyError, InputError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

METRICS = ("loss", "accuracy", "val_loss", "val_accuracy")  # columns of histories
Value = TypeVar("Value")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path with the suffix of `path` that replaces `path` when the block succeeds.

    The temporary file is in the same folder and belongs to this process alone. It is removed when the block fails; the
    next writer removes the file of a killed process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{path.stem}.*.partial{path.suffix}"):
        process = leftover.name.removeprefix(f".{path.stem}.").removesuffix(f".partial{path.suffix}")
        # Another file's name can begin with the same stem: .out.v1.7.partial.csv belongs to out.v1.csv, not to out.csv
        if process.isdecimal() and not psutil.pid_exists(int(process)):
            _remove_file_or_folder(leftover)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        if temporary.is_dir():
            _remove_file_or_folder(path)
        temporary.replace(path)
    finally:
        _remove_file_or_folder(temporary)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder that replaces the folder `path` when the block succeeds, as `atomic_write`."""
    with atomic_write(path) as temporary:
        temporary.mkdir()
        yield temporary


def _remove_file_or_folder(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def read_text(path: Path) -> str:
    """Read a text file, which is UTF-8 whatever the locale.

    Raises:
        InputError: The file is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 ({error.reason}, byte {error.start}). Save it as UTF-8.") from None


@contextmanager
def translate_damage(path: Path) -> Iterator[None]:
    """Turn a parsing error in the block into an `InputError` that names the file and its remedy."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{path} is damaged ({reason}). {paths.remedy(path)}") from None


def read_json(path: Path, select: Callable[[Any], Value]) -> Value:
    """Read a JSON file and return the part of its value that `select` returns.

    Raises:
        FileNotFoundError: The file does not exist.
        InputError: The file is not JSON, or lacks this part.
    """
    with translate_damage(path):
        return select(json.loads(path.read_bytes()))


def read_yaml(path: Path, select: Callable[[Any], Value]) -> Value:
    """Read a YAML file and return the part of its value that `select` returns.

    Raises:
        FileNotFoundError: The file does not exist.
        InputError: The file is not YAML, or lacks this part.
    """
    with translate_damage(path):
        return select(yaml.safe_load(path.read_bytes()))


def read_histories(path: Path, **labels: type) -> "pd.DataFrame":
    """Read the columns epoch and `METRICS` of a CSV file with the histories of one or more trainings.

    Args:
        path: File to read; other columns are left out.
        labels: Names and types of further columns, which come first.

    Raises:
        FileNotFoundError: The file does not exist.
        InputError: A column is missing, or a value is not a number.
    """
    import pandas as pd  # the check of the configuration, which `make repro` starts with, does without it

    types = {**labels, "epoch": int, **dict.fromkeys(METRICS, float)}
    with translate_damage(path):
        return pd.read_csv(path, usecols=list(types), dtype=types)[list(types)]


def read_history(path: Path) -> "pd.DataFrame":
    """Read the history of a training: columns `METRICS`; index epoch, from 1.

    Raises:
        FileNotFoundError: The file does not exist.
        InputError: The file is empty or truncated, or see `read_histories`.
    """
    history = read_histories(path).set_index("epoch")
    with translate_damage(path):
        if history.iloc[-1].isna().any():
            raise ValueError("its last line is incomplete")
    return history


def md5(content: bytes) -> str:
    """Return the MD5 of a file's content in hexadecimal digits, as DVC stores it."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def digest(value: object) -> str:
    """Return the SHA-256 of a value that JSON can express; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def file_hashes(root: Path, paths: Iterable[str]) -> dict[str, str]:
    """Hash the files and folders below `root` that exist, as DVC does.

    The hash of a folder covers the paths and contents of all of its files except `__pycache__`, which `.dvcignore`
    excludes, and ends in ".dir" (see `dvc_data.hashfile.tree`).
    """
    return {path: _path_hash(root / path) for path in paths if (root / path).exists()}


def _path_hash(path: Path) -> str:
    if path.is_file():
        with path.open("rb") as stream:  # read in parts: the images of a data set can exceed the memory
            return hashlib.file_digest(stream, partial(hashlib.md5, usedforsecurity=False)).hexdigest()
    files = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    entries = [{"md5": _path_hash(path / file), "relpath": file} for file in files if "__pycache__" not in file]
    return f"{md5(json.dumps(entries, sort_keys=True).encode())}.dir"


def acquire_lock(path: Path, busy: str) -> FileLock:
    """Acquire a lock that this process releases when it ends, at the latest.

    Args:
        path: Lock file; its folder is created.
        busy: Message of the error when another process holds the lock.

    Raises:
        BusyError: Another process holds the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise BusyError(busy) from None
    return lock


def write_text(path: Path, text: str) -> None:
    """Write a text file, as UTF-8."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Write a value as indented JSON."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_arrays(path: Path, **arrays: Any) -> None:
    """Write arrays as an .npz file."""
    import numpy as np

    with atomic_write(path) as temporary:
        np.savez(temporary, **arrays)


def write_figure(path: Path, figure: "Figure") -> None:
    """Write a figure; the suffix of the path decides the format."""
    with atomic_write(path) as temporary:
        figure.savefig(temporary)
