"""What every command does around its own work."""

import errno
import functools
import gc
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import hydra
from filelock import FileLock, Timeout
from omegaconf import DictConfig

from mnist_cnn import paths
from mnist_cnn.configuration import COMPOSITION_ERRORS, explain, resolve
from mnist_cnn.errors import BusyError, InputError
from mnist_cnn.schema import Schema


def command(
    name: str, schema: type[Schema], shorthands: Mapping[str, str] | None = None
) -> Callable[[Callable[[Schema], None]], Callable[[], None]]:
    """Turn a function of a checked configuration into a command line in Hydra's grammar.

    The configuration is conf/<name>.yaml with the overrides of the command line. A mistake of the user's ends in one
    line on standard error and exit code 1; Ctrl-C in exit code 130.

    Args:
        name: of the command.
        schema: of its configuration.
        shorthands: regular expressions of arguments that are not in Hydra's grammar, and what they stand for.
    """

    def decorate(work: Callable[[Schema], None]) -> Callable[[], None]:
        def task(composed: DictConfig) -> None:
            with (
                _mistakes_explained()
            ):  # here: what leaves a task as an exception, Hydra announces with a line of its own
                work(resolve(schema, composed))

        @functools.wraps(work)
        def main() -> None:
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not told to ignore it, as by nohup
                signal.signal(signal.SIGINT, _end)
            many = any(_means_multirun(argument) for argument in sys.argv[1:])
            if name != "train" and many:
                sys.exit("Error: only trainings can be swept: python -m pipelines.train -m …")
            for argument in sys.argv[1:]:
                if name == "train" and not many and re.match(r"[+~]*sweep[.=]", argument):
                    sys.exit(f"Error: {argument} is of a sweep, which needs -m: python -m pipelines.train -m …")
            for pattern, meaning in (shorthands or {}).items():
                sys.argv[1:] = [re.sub(pattern, meaning, argument) for argument in sys.argv[1:]]
            os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises its errors instead of printing them
            try:
                with _mistakes_explained():
                    hydra.main(version_base="1.3", config_path=str(paths.CONF), config_name=name)(task)()
            except COMPOSITION_ERRORS as error:
                sys.exit(f"Error: {explain(error, name, paths.CONF)}")

        return main

    return decorate


def _means_multirun(argument: str) -> bool:
    """Tell Hydra's flag, which may be cut short."""
    return argument == "-m" or (len(argument) > len("--m") and "--multirun".startswith(argument))


@contextmanager
def _mistakes_explained() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        sys.exit(f"Error: {error}")
    except FileNotFoundError as error:
        sys.exit(f"Error: {error.filename or error} is missing. Make it: dvc repro")
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        reason = " ".join(str(error).split())
        sys.exit(f"Error: the disk is full ({reason}). Make room, and type the same command again.")


def _end(_signal: int, _frame: FrameType | None) -> None:
    """End without unwinding: an exception inside a callback of TensorFlow's corrupts its memory."""
    os.write(sys.stderr.fileno(), b"Interrupted. The same command starts it again.\n")
    os._exit(130)


def hold(lock: Path, busy: str) -> FileLock:
    """Keep other processes out; the lock goes with this process at the latest.

    Raises:
        BusyError: with the text `busy`: another process holds the lock.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(lock, blocking=False)
    try:
        held.acquire()
    except Timeout:
        raise BusyError(busy) from None
    return held


@contextmanager
def heavy_imports() -> Iterator[None]:
    """Import large libraries, once the configuration has been checked, in about half the time.

    They make half a million objects that last: garbage collection searches them in vain, during the import and at exit.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
