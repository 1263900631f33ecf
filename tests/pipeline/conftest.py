"""Projects of the end-to-end tests, each made once for all tests and workers, and copies of them."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from helpers import (
    COMMITTED_OUTPUTS,
    SMALL_GRID,
    SWEEP,
    commit,
    copy_project,
    make_slice_project,
    remove_store,
    run,
    snapshot,
)


@pytest.fixture(scope="session", autouse=True)
def _fixed_threads() -> None:
    """These tests train in other processes; this one does without TensorFlow."""


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


@pytest.fixture(scope="session")
def repro_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A clone of this project after its first `dvc repro`, with few images and epochs. Do not change it."""

    def make(project: Path) -> str:
        make_slice_project(project)
        printed = run(project, "dvc", "repro")
        changed = {line[3:] for line in run(project, "git", "status", "--porcelain").splitlines()}
        assert changed <= COMMITTED_OUTPUTS, changed
        commit(project)
        return printed

    yield from share(tmp_path_factory, "repro_project", make)


@pytest.fixture(scope="session")
def repro_output(repro_project: Path) -> str:
    """Output of the first `dvc repro`."""
    return repro_project.with_suffix(".log").read_text()


@pytest.fixture
def project_copy(repro_project: Path, tmp_path: Path) -> Path:
    """A copy of `repro_project` that a test may change."""
    copy = tmp_path / "project"
    copy_project(repro_project, copy)
    return copy


@pytest.fixture
def untracked_copy(project_copy: Path) -> Path:
    """A copy of `repro_project` without an MLflow store, which a test may change."""
    remove_store(project_copy)
    return project_copy


@pytest.fixture(scope="session")
def swept_project(repro_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project after a sweep, whose store has nothing else. Do not change it."""

    def make(project: Path) -> str:
        copy_project(repro_project, project)
        remove_store(project)
        return run(project, *SWEEP, *SMALL_GRID, "sweep.retrain_best=true")

    yield from share(tmp_path_factory, "swept_project", make)


@pytest.fixture(scope="session")
def sweep_output(swept_project: Path) -> str:
    """Output of the sweep."""
    return swept_project.with_suffix(".log").read_text()


@pytest.fixture
def swept_copy(swept_project: Path, tmp_path: Path) -> Path:
    """A copy of `swept_project` that a test may change."""
    copy = tmp_path / "project"
    copy_project(swept_project, copy)
    return copy
