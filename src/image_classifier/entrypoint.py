"""Common behaviour of all commands: composed and checked configuration, one-line errors, Ctrl-C."""

import errno
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import hydra
import psutil
from omegaconf import DictConfig

from image_classifier import paths
from image_classifier.config.compose import resolve, translate_composition_errors
from image_classifier.config.schema import Schema
from image_classifier.errors import InputError

LIMITS = {errno.EFBIG: "ulimit -f unlimited", errno.EMFILE: "ulimit -n 4096"}


def entrypoint(stage: str, schema: type[Schema]) -> Callable[[Callable[[Schema], str]], Callable[[], None]]:
    """Turn a function of a checked configuration into the Hydra command line of a stage.

    The function returns a summary of its work, which is printed with the duration of the process. The configuration is
    conf/<stage>.yaml with the overrides of the command line. A user's mistake ends with one line on standard error and
    exit code 1, Ctrl-C with exit code 130.

    Args:
        stage: Name of the stage.
        schema: Schema of its configuration.
    """

    def decorate(function: Callable[[Schema], str]) -> Callable[[], None]:
        def task(composed: DictConfig) -> None:
            with exit_on_input_error():  # inside the task: Hydra announces exceptions of tasks with a line of its own
                summary = function(resolve(schema, composed))
                print(f"{stage}: {summary} in {time.time() - psutil.Process().create_time():.1f} s", flush=True)

        def main() -> None:
            _check_sweep_flags(stage)
            os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises its errors instead of printing them
            with exit_on_input_error(), translate_composition_errors(stage):
                hydra.main(version_base="1.3", config_path=str(paths.CONF), config_name=stage)(task)()

        return main

    return decorate


def _check_sweep_flags(stage: str) -> None:
    """Refuse -m for stages other than train, and settings of a sweep without -m."""
    is_sweep = any(argument.startswith(("-m", "--m")) for argument in sys.argv[1:])  # argparse admits abbreviations
    settings = [argument for argument in sys.argv[1:] if re.match(r"[+~]*sweep[.=]", argument)]
    if is_sweep and stage != "train":
        sys.exit("Error: only trainings can be swept: python -m pipelines.train -m …")
    if settings and stage == "train" and not is_sweep:
        sys.exit(f"Error: {settings[0]} belongs to a sweep, which needs -m: python -m pipelines.train -m …")


@contextmanager
def exit_on_input_error() -> Iterator[None]:
    """End the command with one line and exit code 1 when the user can correct the error."""
    try:
        yield
    except InputError as error:
        sys.exit(f"Error: {error}")
    except BrokenPipeError:  # the reader of the output has ended, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
    except OSError as error:
        sys.exit(f"Error: {_explain_os_error(error)}")


def _explain_os_error(error: OSError) -> str:
    reason = " ".join(str(error).split())
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full ({reason}). Make room, and type the same command again."
    if isinstance(error, FileNotFoundError):
        file = str(error.filename or error)
        return f"{file} is missing. {paths.remedy(Path(file))}"
    if isinstance(error, IsADirectoryError | NotADirectoryError | FileExistsError):
        place = error.filename2 or error.filename  # the first name of two is the one of a temporary file
        return (
            f"{place}: {error.strerror}. A file is in place of a folder, or a folder in place of a file: move it aside."
        )
    if error.errno in LIMITS:
        return f"{reason}. Raise the limit: {LIMITS[error.errno]}"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{reason}. Change the permissions of the file or its folder, or work in a copy of the project."
    return f"{type(error).__name__}: {reason}"
