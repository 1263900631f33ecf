"""Shared code of the benchmarks: a clone of the project, timed commands, and the format of times."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from image_classifier import paths
from image_classifier.environment import describe

Times = Sequence[float]


def median(times: Times) -> float:
    """Return the median, in the unit of the times."""
    return statistics.median(times)


def seconds(times: Times) -> str:
    """Format times in seconds: median, minimum, maximum and number."""
    return f"{median(times):.1f} s ({min(times):.1f} to {max(times):.1f}, n = {len(times)})"


def ratio(times: Times, others: Times) -> str:
    """Format the ratio of the medians, with the least and greatest ratio of times that were measured side by side."""
    pairs = [one / other for one, other in zip(times, others, strict=True)]
    return f"{median(times) / median(others):.3f} ({min(pairs):.3f} to {max(pairs):.3f})"


def say(text: str) -> None:
    """Print progress to standard error; standard output is for the results."""
    print(text, file=sys.stderr, flush=True)


def machine_facts(*further: str) -> dict[str, str]:
    """Return the conditions of a measurement: processor, cores, version of TensorFlow, and further facts by name."""
    described = describe()
    return {name: described[name] for name in ("processor", "cores", "tensorflow", *further)}


@contextmanager
def clone() -> Iterator[Path]:
    """Yield a fresh clone of the project at its last commit."""
    with TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        run(["git", "clone", "--quiet", str(paths.ROOT), str(project)])
        yield project


def replace(file: Path, old: str, new: str) -> None:
    """Replace a text in a file; raises `ValueError` if the file does not contain it."""
    text = file.read_text(encoding="utf-8")
    if old not in text:
        raise ValueError(f"{file} does not contain {old!r}")
    file.write_text(text.replace(old, new), encoding="utf-8")


def environment() -> dict[str, str]:
    """Return the variables of a user in this virtual environment without an MLflow server, with fewer messages."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{variables['PATH']}"
    return {
        **variables,
        "PATH": path,
        "DVC_NO_ANALYTICS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def run(command: Sequence[str], project: Path = paths.ROOT, code: int = 0, stderr: int | None = subprocess.PIPE) -> str:
    """Run a command in a project, and return its standard output.

    Args:
        command: Program and arguments.
        project: Working directory.
        code: Expected exit code.
        stderr: None shows standard error at once, the default only after a failure.

    Raises:
        subprocess.CalledProcessError: The exit code is another one.
    """
    done = subprocess.run(
        list(command), cwd=project, env=environment(), stdout=subprocess.PIPE, stderr=stderr, text=True, check=False
    )
    if done.returncode != code:
        if done.stderr:
            say(done.stderr)
        raise subprocess.CalledProcessError(done.returncode, command)
    return done.stdout


def timed(command: Sequence[str], project: Path = paths.ROOT, code: int = 0) -> float:
    """Run a command as `run` does, and return its duration in seconds."""
    started = time.perf_counter()
    run(command, project, code)
    return time.perf_counter() - started
