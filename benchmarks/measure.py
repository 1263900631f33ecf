"""Shared code of the benchmarks: conditions of a measurement, a clone of the project, and its commands."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from image_classifier import paths
from image_classifier.environment import describe


def say(text: str) -> None:
    """Print progress to standard error; standard output is for the results."""
    print(text, file=sys.stderr, flush=True)


def machine_facts(*further: str) -> dict[str, str]:
    """Return the conditions of a measurement: processor, cores, version of TensorFlow, and further facts by name."""
    described = describe()
    return {name: described[name] for name in ("processor", "processor_family", "cores", "tensorflow", *further)}


def conditions(*further: str) -> dict[str, str]:
    """Return the date, the commit that clones have, and `machine_facts`."""
    commit = run(["git", "rev-parse", "--short=10", "HEAD"]).strip()
    return {"date": f"{datetime.now(UTC):%Y-%m-%d}", "commit": commit, **machine_facts(*further)}


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


def run(command: Sequence[str], project: Path = paths.ROOT) -> str:
    """Run a command in a project, and return its standard output; shows standard error only after a failure.

    Raises:
        subprocess.CalledProcessError: The command fails.
    """
    done = subprocess.run(list(command), cwd=project, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        say(done.stderr)
        raise subprocess.CalledProcessError(done.returncode, command)
    return done.stdout
