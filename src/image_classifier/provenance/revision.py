"""Position of the workspace in git."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import git

from image_classifier import paths
from image_classifier.errors import InputError


@dataclass(frozen=True)
class Revision:
    """Position of a result in git.

    Attributes:
        commit: Commit id; None outside of a git repository.
        uncommitted: Changed files that went into the training.
        experiment: Name of the DVC experiment that the commit belongs to.
    """

    commit: str | None = None
    uncommitted: tuple[str, ...] = ()
    experiment: str | None = None


def open_repository() -> git.Repo | None:
    """Return the git repository of the project, or None."""
    try:
        return git.Repo(paths.ROOT)
    except git.InvalidGitRepositoryError:
        return None


def workspace_revision(files: Iterable[str]) -> Revision:
    """Return the current commit, and which of the files, params.yaml and dvc.yaml have uncommitted changes."""
    repository = open_repository()
    if repository is None or not repository.head.is_valid():
        return Revision()
    changed = repository.git.status("--porcelain", "--untracked-files=all", "--", "params.yaml", "dvc.yaml", *files)
    uncommitted = tuple(line[3:] for line in changed.splitlines())
    return Revision(repository.head.commit.hexsha, uncommitted, os.environ.get("DVC_EXP_NAME"))


def committed_revision(commit: str) -> Revision:
    """Return a commit with the name of its DVC experiment, which git has in refs/exps/<2 digits>/<38 digits>/<name>."""
    refs = git.Repo(paths.ROOT).git.for_each_ref("refs/exps/*/*/*", points_at=commit, format="%(refname:lstrip=4)")
    return Revision(commit, experiment=next(iter(refs.splitlines()), None))


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """Yield a temporary copy of the project at a commit.

    Raises:
        InputError: git does not have the commit.
    """
    repository = open_repository()
    if repository is None:
        raise InputError("This is not a git repository.")
    with TemporaryDirectory(prefix="image_classifier_", ignore_cleanup_errors=True) as folder:
        root = Path(folder) / "project"
        try:
            repository.git.worktree("add", "--detach", str(root), commit)
        except git.GitCommandError as error:
            reason = " ".join(error.stderr.split())
            raise InputError(f"git cannot check out commit {commit} ({reason}). Try: git fetch --all") from None
        try:
            yield root
        finally:
            with suppress(git.GitCommandError):  # an interrupted process may still write into the folder
                repository.git.worktree("remove", "--force", str(root))
