"""Projects of the end-to-end tests, each made once for all tests and workers, and copies of them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import (
    COMMITTED_OUTPUTS,
    SMALL_GRID,
    SWEEP,
    commit,
    copy_project,
    make_slice_project,
    remove_store,
    run,
    share,
)
from playwright.sync_api import Browser, sync_playwright

from image_classifier import paths

# No window, no sandbox as root, and no connection to anything but the server
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session", autouse=True)
def _fixed_threads() -> None:
    """These tests train in other processes; this one does without TensorFlow."""


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


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser without a window."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def screenshots(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder for screenshots."""
    if request.config.getoption("screenshots"):
        return paths.ROOT / "docs"
    return tmp_path_factory.mktemp("screenshots")
