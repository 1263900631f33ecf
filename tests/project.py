"""Commands in a copy of the project, as a user types them."""

import contextlib
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

RUNS = ("sgd_32", "sgd_128", "adadelta_128", "fast")
MADE_FOR_GIT = {
    "dvc.lock",
    "reports/comparison.json",
    "reports/comparison.md",
    "reports/comparison.png",
    "reports/dataset.json",
    "reports/model.png",
    "reports/model.svg",
    "reports/model.txt",
    "reports/samples.png",
}
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_"))},
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "DVC_NO_ANALYTICS": "1",
}


def run(project: Path, *command: str, fails: bool = False) -> str:
    """Run a command in a project and give what it printed.

    It prints to a file: a pipe ends only with the last process that has it, which can be one of DVC's queue workers.
    """
    with tempfile.TemporaryFile("w+") as output:
        completed = subprocess.run(
            command, cwd=project, env=ENVIRONMENT, stdout=output, stderr=subprocess.STDOUT, check=False
        )
        output.seek(0)
        printed = output.read()
    assert (completed.returncode != 0) == fails, printed
    return printed


def commit(project: Path) -> None:
    run(project, "git", "add", "--all")
    author = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    run(project, "git", *author, "commit", "--quiet", "--message", "test")


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def query(project: Path, statement: str, *values: str) -> list[Any]:
    """Ask the project's MLflow store for rows."""
    with contextlib.closing(sqlite3.connect(project / "mlflow.db")) as database:
        return database.execute(statement, values).fetchall()


def recorded(project: Path) -> list[tuple[str, str, str]]:
    """Return name, status and artifact location of every MLflow run."""
    return query(project, "SELECT name, status, artifact_uri FROM runs ORDER BY start_time")
