"""Commands in projects of the tests, as a user types them."""

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from image_classifier import paths

RUNS = ("sgd_32", "sgd_128", "adadelta_128", "fast")
TRAINING_IMAGES, TEST_IMAGES, EPOCHS = 500, 200, 2  # of the projects in the tests
STAGES = ("fetch", "prepare", "audit", "diagram", "train", "evaluate", "compare", "track")
COMMITTED_OUTPUTS = {
    "dvc.lock",
    "reports/audit_mnist.md",
    "reports/audit_mnist.png",
    "reports/comparison_mnist.json",
    "reports/comparison_mnist.md",
    "reports/comparison_mnist.png",
    "reports/dataset_mnist.json",
    "reports/models/cnn_mnist.png",
    "reports/models/cnn_mnist.svg",
    "reports/models/cnn_mnist.txt",
    "reports/samples_mnist.png",
}
PYTHON = (sys.executable, "-m")
TRAIN = (*PYTHON, "pipelines.train")
CLI = "image-classifier"
SWEEP = (*TRAIN, "-m", f"epochs={EPOCHS}")
GRID = ("optimizer=sgd,adam", "batch_size=64,128")
SMALL_GRID = ("optimizer=sgd,adam", "batch_size=64")
ENVIRONMENT = {
    **{
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DVC_", "MLFLOW_", "PYTEST_")) and name != "PYTHONPATH"
    },
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "DVC_NO_ANALYTICS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
COMMAND_TIMEOUT = 1800  # seconds
# Files of a project that commands replace but never change in place. Copies of the project share them.
SHARED_FOLDERS = (".dvc/cache/files", ".git/objects", "data/prepared", "data/raw", "plots", "runs")


def environment(project: Path) -> dict[str, str]:
    """Return the environment of commands in a project."""
    return {**ENVIRONMENT, "DVC_SITE_CACHE_DIR": str(project.parent / "dvc_site_cache")}


def run(project: Path, *command: str, fails: bool = False, **variables: str) -> str:
    """Run a command in a project and return its output.

    It prints to a file: a pipe ends only with the last process that has it, which can be one of DVC's queue workers.

    Args:
        project: Working directory.
        command: Program and arguments.
        fails: Whether it should fail.
        variables: Further environment variables.
    """
    with tempfile.TemporaryFile("w+") as output:
        completed = subprocess.run(
            command,
            cwd=project,
            env={**environment(project), **variables},
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=COMMAND_TIMEOUT,
        )
        output.seek(0)
        printed = output.read()
    assert (completed.returncode != 0) == fails, printed
    return printed


@contextlib.contextmanager
def started(project: Path, *command: str, **options: Any) -> Iterator["subprocess.Popen[str]"]:
    """Start a command in a project in a process group of its own, which is killed with the block."""
    options = {"env": environment(project), "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **options}
    with subprocess.Popen(command, cwd=project, text=True, start_new_session=True, **options) as process:
        try:
            yield process
        finally:
            kill(process)


def kill(process: "subprocess.Popen[str]") -> None:
    """Kill a process that `started` started with all of its children, as a machine does that loses its power."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def wait_until(condition: Callable[[], object], process: "subprocess.Popen[Any]", seconds: float = 300) -> None:
    """Wait until a condition holds while a process runs."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"{process.args!r} ended with {process.returncode}"
        assert time.monotonic() < deadline, f"{process.args!r} takes too long"
        time.sleep(0.05)


def wait_for_line(process: "subprocess.Popen[str]", begins: str) -> str:
    """Read the output of a process until a line begins with a text, and return the lines."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith(begins):
            return "".join(lines)
    raise AssertionError(f"{process.args!r} ended without a line that begins with {begins!r}:\n{''.join(lines)}")


def make_slice_project(project: Path) -> None:
    """Copy this project's files as git would commit them, with few images and epochs, into a new git repository."""
    files = run(paths.ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    for file in files:
        if (paths.ROOT / file).is_file():
            (project / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(paths.ROOT / file, project / file)
    (project / "dvc.lock").unlink(missing_ok=True)
    replicates = project / "reports/replicates.csv"
    replicates.write_text(replicates.read_text().splitlines(keepends=True)[0])  # they were trained with all images
    replace(project / "conf/data/mnist.yaml", "train_examples: 60000", f"train_examples: {TRAINING_IMAGES}")
    replace(project / "conf/data/mnist.yaml", "test_examples: 10000", f"test_examples: {TEST_IMAGES}")
    # On a processor that emulates bfloat16, an epoch would take seven times as long.
    replace(project / "conf/training/fast.yaml", "precision: mixed_bfloat16", "precision: float32")
    replace(project / "params.yaml", "epochs: 10", f"epochs: {EPOCHS}")
    run(project, "git", "init", "--quiet", "--initial-branch", "main")
    commit(project)


def copy_project(source: Path, target: Path) -> None:
    """Copy a project with its git repository, its DVC cache and its MLflow store, independent of the original."""

    def link_or_copy(file: str, copy: str) -> None:
        if Path(file).relative_to(source).as_posix().startswith(SHARED_FOLDERS):
            os.link(file, copy)
        else:
            shutil.copy2(file, copy)

    def ignore(folder: str, _names: list[str]) -> list[str]:
        return ["tmp"] if Path(folder).name == ".dvc" else []

    shutil.copytree(source, target, symlinks=True, ignore=ignore, copy_function=link_or_copy)
    if (target / "mlflow.db").exists():
        _replace_in_database(target / "mlflow.db", str(source), str(target))
        for file in (target / "mlartifacts").rglob("MLmodel"):
            file.write_text(file.read_text().replace(str(source), str(target)))


def _replace_in_database(database: Path, old: str, new: str) -> None:
    """Replace a text in all columns of an SQLite database: MLflow stores the absolute paths of its artifacts."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        with connection:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for table in tables:
                for _, column, *_ in connection.execute(f"PRAGMA table_info('{table}')").fetchall():
                    update = f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?) WHERE instr("{column}", ?)'
                    connection.execute(update, (old, new, old))
        connection.execute("VACUUM")  # removes the old text from unused pages


def snapshot(project: Path) -> dict[str, list[int]]:
    """Return size and time of the last change of every file that a command could change.

    Excluded are temporary files of DVC, compiled code, and files whose times git changes although it only reads them.
    """
    files = (file for file in project.rglob("*") if file.is_file())
    relative = {file.relative_to(project).as_posix(): file.stat() for file in files if file.suffix != ".pyc"}
    return {
        name: [stat.st_size, stat.st_mtime_ns]
        for name, stat in relative.items()
        if not name.startswith((".dvc/tmp/", ".git/index", ".git/objects/"))
    }


def share(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], str]) -> Iterator[Path]:
    """Yield a project that all tests and workers read and none may change.

    Args:
        factory: Factory of temporary folders.
        name: Name of the project.
        make: Makes the project in a folder that does not exist, and returns the output of the commands.
    """
    folder = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    project, output, files = (folder / f"{name}{suffix}" for suffix in ("", ".log", ".json"))
    with FileLock(folder / f"{name}.lock"):
        if not output.exists():
            assert not project.exists(), f"{name} could not be made; the report of another test has the output"
            printed = make(project)
            files.write_text(json.dumps(snapshot(project)))
            output.write_text(printed)
    yield project
    before, after = json.loads(files.read_text()), snapshot(project)
    changed = sorted(file for file in before.keys() | after.keys() if before.get(file) != after.get(file))
    assert not changed, f"a test has changed files of {name}, which all tests share: {changed}"


def commit(project: Path) -> None:
    """Commit all changes of a project."""
    run(project, "git", "add", "--all")
    author = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    run(project, "git", *author, "commit", "--quiet", "--message", "test")


def replace(file: Path, old: str, new: str) -> None:
    """Replace a text in a file, which must contain it."""
    text = file.read_text()
    assert old in text, f"{file} does not contain {old!r}"
    file.write_text(text.replace(old, new))


def stages(printed: str) -> list[str]:
    """Return the stages that `dvc repro` ran."""
    return re.findall(r"^Running stage '(.*)'", printed, re.MULTILINE)


def would_run(project: Path, *targets: str) -> list[str]:
    """Return the stages that `dvc repro` would run, as `dvc repro --dry` does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the warnings of DVC's libraries are not about this project
        from dvc.repo import Repo

        with contextlib.chdir(project), Repo(str(project)) as repository:
            return [stage.addressing for stage in repository.reproduce(targets, dry=True)]


def query(project: Path, statement: str, *values: str) -> list[Any]:
    """Return the rows that a statement selects from the project's MLflow store."""
    with contextlib.closing(sqlite3.connect(project / "mlflow.db")) as database:
        return database.execute(statement, values).fetchall()


def tracked_runs(project: Path) -> list[tuple[str, str, str]]:
    """Return name, status and artifact location of every MLflow run."""
    return query(project, "SELECT name, status, artifact_uri FROM runs ORDER BY start_time")


def run_ids(project: Path, name: str) -> list[str]:
    """Return the ids of the MLflow runs of this name, the oldest first."""
    statement = "SELECT run_uuid FROM runs WHERE name = ? ORDER BY start_time"
    return [run_id for (run_id,) in query(project, statement, name)]


def pipeline_results(project: Path) -> dict[str, dict[str, Any]]:
    """Return parameters, metrics and hashes of each pipeline result in MLflow, by its fingerprint.

    System metrics are left out, which depend on the machine.
    """
    fingerprints = dict(query(project, "SELECT run_uuid, value FROM tags WHERE key = 'result_fingerprint'"))
    results: dict[str, dict[str, Any]] = {fingerprint: {} for fingerprint in fingerprints.values()}
    for table, wanted in (("params", "1"), ("metrics", "key NOT LIKE 'system/%'"), ("tags", "key LIKE 'dvc.%'")):
        step = "step" if table == "metrics" else "0"
        for run_id, key, at, value in query(
            project, f"SELECT run_uuid, key, {step}, value FROM {table} WHERE {wanted}"
        ):
            if run_id in fingerprints:
                results[fingerprints[run_id]][f"{table}.{key}.{at}"] = value
    return {fingerprint: values for fingerprint, values in results.items() if "tags.dvc.stage.0" in values}


def without_times(values: dict[str, Any]) -> dict[str, Any]:
    """Leave out the durations and rates, which differ between two trainings."""
    return {key: value for key, value in values.items() if "second" not in key}


def forget_results(project: Path, *runs: str) -> None:
    """Remove everything that trainings of these runs, or of all runs, made: files, caches, records."""
    import yaml

    folders = [f"{folder}/mnist/{name}" for folder in ("plots", "runs") for name in runs or [""]]
    for made in (".dvc/cache/runs", "run_metadata", "mlartifacts", *folders):
        shutil.rmtree(project / made, ignore_errors=True)
    (project / "mlflow.db").unlink(missing_ok=True)
    lock = project / "dvc.lock"
    if not runs:
        lock.unlink(missing_ok=True)
    elif lock.exists():
        locked = yaml.safe_load(lock.read_text())
        kept = {name: stage for name, stage in locked["stages"].items() if name.partition("@")[2] not in runs}
        lock.write_text(yaml.safe_dump({**locked, "stages": kept}))


def remove_store(project: Path) -> None:
    """Remove the project's MLflow store."""
    shutil.rmtree(project / "mlartifacts")
    (project / "mlflow.db").unlink()


def artifact_folder(uri: str) -> Path:
    """Return the folder of a local artifact location."""
    return Path(uri.removeprefix("file://"))
