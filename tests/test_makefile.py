"""The environment of the Makefile."""

import shutil
import subprocess
from pathlib import Path

import pytest

from image_classifier import paths


def installs(project: Path) -> bool:
    """Return whether make would create the environment."""
    completed = subprocess.run(
        ["make", "--dry-run", "install"], cwd=project, check=True, capture_output=True, text=True
    )
    return "Installing into .venv" in completed.stdout


@pytest.mark.parametrize("name", ["project", "a b%20c'ö"])
def test_an_environment_is_created_again_after_the_project_was_moved(tmp_path: Path, name: str) -> None:
    project, moved = tmp_path / name, tmp_path / "moved"
    (project / ".venv").mkdir(parents=True)
    for file in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(paths.ROOT / file, project)
    assert installs(project)
    (project / ".venv/.installed").write_text(f"{project}\n")
    assert not installs(project)
    project.rename(moved)
    assert installs(moved)
