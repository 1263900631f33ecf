"""What the benchmarks share: a copy of the project to run commands in, and how times are written down."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from mnist_cnn import paths

Times = Sequence[float]


def median(times: Times) -> float:
    """Return the median, in the unit of the times."""
    return statistics.median(times)


def seconds(times: Times) -> str:
    """Write times in seconds: median, least, greatest and number."""
    return f"{median(times):.1f} s ({min(times):.1f} to {max(times):.1f}, n = {len(times)})"


def ratio(times: Times, others: Times) -> str:
    """Write the ratio of the medians, with those of the times that were measured side by side."""
    pairs = [one / other for one, other in zip(times, others, strict=True)]
    return f"{median(times) / median(others):.3f} ({min(pairs):.3f} to {max(pairs):.3f})"


def say(text: str) -> None:
    """Tell the user how far it is; standard output has the results alone."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def clone() -> Iterator[Path]:
    """Yield a clone of the project at its last commit, in which nothing has been run."""
    with TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        run(["git", "clone", "--quiet", str(paths.ROOT), str(project)])
        yield project


def replace(file: Path, old: str, new: str) -> None:
    """Replace a text that must be in a file."""
    text = file.read_text()
    if old not in text:
        raise ValueError(f"{file} has no {old!r}")
    file.write_text(text.replace(old, new))


def environment() -> dict[str, str]:
    """Return the variables of a user who has activated this environment, keeps no MLflow server, and likes it quiet."""
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
    """Run a command in a project, and give what it wrote to standard output.

    Args:
        command: the program and its arguments.
        project: where it runs.
        code: the exit code that it must have.
        stderr: None shows what it writes to standard error at once, not only after a failure.

    Raises:
        subprocess.CalledProcessError: it ended with another exit code.
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
    """Run a command as `run` does, and give the seconds that it took."""
    started = time.perf_counter()
    run(command, project, code)
    return time.perf_counter() - started
