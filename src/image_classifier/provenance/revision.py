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
    """Return the git repository of the project, or None if the project has none.

    Variables such as GIT_DIR, which git sets for its hooks, are removed from the environment of this process: they
    would direct git to another repository.

    Raises:
        InputError: git is not installed, or cannot read the repository.
    """
    if not (paths.ROOT / ".git").exists():
        return None
    with _translate_errors():
        for name in git.Git().rev_parse("--local-env-vars").split():
            if not name.startswith("GIT_CONFIG"):  # settings of the user, such as safe.directory
                os.environ.pop(name, None)
        repository = git.Repo(paths.ROOT)
        repository.git.rev_parse("--git-dir")  # GitPython opens a repository that git refuses to read
        return repository


@contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except git.GitError as error:
        raise InputError(f"git cannot read {paths.ROOT}: {_reason(error)}") from None


def _reason(error: git.GitError) -> str:
    """Return the message of git, or of GitPython if git could not be started, in one line."""
    message = getattr(error, "stderr", "") or str(error)
    return " ".join(message.replace("stderr: ", "").split()).strip("'")


def workspace_revision(files: Iterable[str]) -> Revision:
    """Return the current commit, and which of the files, params.yaml and dvc.yaml have uncommitted changes.

    Raises:
        InputError: git is not installed, or cannot read the repository.
    """
    repository = open_repository()
    if repository is None:
        return Revision()
    # Not by GitPython's `head`, which starts `git cat-file` processes that outlive the call
    commit = repository.git.rev_parse("HEAD", verify=True, quiet=True, with_exceptions=False)
    if not commit:
        return Revision()
    with _translate_errors():
        changed = repository.git.status("--porcelain", "--untracked-files=all", "--", "params.yaml", "dvc.yaml", *files)
    uncommitted = tuple(line[3:] for line in changed.splitlines())
    return Revision(commit, uncommitted, os.environ.get("DVC_EXP_NAME"))


def committed_revision(commit: str) -> Revision:
    """Return a commit with the name of its DVC experiment, which git has in refs/exps/<2 digits>/<38 digits>/<name>."""
    repository = _require_repository(commit)
    refs = repository.git.for_each_ref("refs/exps/*/*/*", points_at=commit, format="%(refname:lstrip=4)")
    return Revision(commit, experiment=next(iter(refs.splitlines()), None))


def _require_repository(commit: str) -> git.Repo:
    repository = open_repository()
    if repository is None:
        missing = f"{paths.ROOT} is not a git repository, which would hold commit {commit[:10]}"
        raise InputError(f"{missing}. Type the command in a copy of the project that git clone made.")
    return repository


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """Yield a temporary copy of the project at a commit.

    Raises:
        InputError: The project is not a git repository, or git does not have the commit.
    """
    repository = _require_repository(commit)
    with TemporaryDirectory(prefix="image_classifier_", ignore_cleanup_errors=True) as folder:
        root = Path(folder) / "project"
        try:
            repository.git.worktree("add", "--detach", str(root), commit)
        except git.GitCommandError as error:
            is_shallow = repository.git.rev_parse("--is-shallow-repository") == "true"
            remedy = f"git fetch {'--unshallow' if is_shallow else '--all'}"
            raise InputError(f"git cannot check out commit {commit} ({_reason(error)}). Try: {remedy}") from None
        try:
            yield root
        finally:
            with suppress(git.GitCommandError):  # an interrupted process may still write into the folder
                repository.git.worktree("remove", "--force", str(root))
