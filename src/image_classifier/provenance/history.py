"""Results that DVC stores: in the workspace, in git's history, and in DVC experiments."""

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import git

from image_classifier import paths
from image_classifier.errors import InputError
from image_classifier.files import digest
from image_classifier.provenance.fingerprint import data_name
from image_classifier.provenance.result import (
    Result,
    Stage,
    committed_trainings,
    pipeline_result,
    workspace_trainings,
)
from image_classifier.provenance.revision import committed_revision, open_repository, workspace_revision

if TYPE_CHECKING:
    from dvc.api import DVCFileSystem


@dataclass(frozen=True)
class StoredResult:
    """A result that DVC can restore.

    Attributes:
        run: Name of the run.
        fingerprint: Fingerprint of the `Result`.
        stage: The run's `train` stage in dvc.lock.
        newest: Latest commit whose dvc.lock has the result, from which its files are restored; None means the
            workspace.
        oldest: First commit whose dvc.lock has the result; None if only the workspace has it.
    """

    run: str
    fingerprint: str
    stage: Stage
    newest: str | None
    oldest: str | None

    @property
    def data(self) -> str:
        """Name of the data set."""
        return data_name(self.stage["deps"])

    def __str__(self) -> str:
        """Return the run and its commit."""
        return f"{self.run} of " + (f"commit {self.newest[:10]}" if self.newest else "the workspace")


def stored_results() -> list[StoredResult]:
    """List every distinct result of the workspace, of git's history and of DVC experiments, oldest first.

    Raises:
        InputError: dvc.lock or params.yaml of the workspace is not YAML.
    """
    versions: list[tuple[str | None, dict[str, Stage]]] = [(None, workspace_trainings())]  # the newest first
    if repository := open_repository():
        for commit in repository.git.log("--all", "--full-history", "--format=%H", "--", "dvc.lock").split():
            with suppress(git.GitCommandError, InputError):  # one of the files did not exist, or was damaged
                versions.append((commit, committed_trainings(repository, commit)))
    found: dict[str, StoredResult] = {}
    for commit, trainings in versions:
        for run, stage in trainings.items():
            fingerprint = digest(stage["outs"])
            if fingerprint in found:
                found[fingerprint] = replace(found[fingerprint], oldest=commit)
            else:
                found[fingerprint] = StoredResult(run, fingerprint, stage, newest=commit, oldest=commit)
    return list(reversed(found.values()))


def restore(stored: StoredResult, root: Path) -> Result:
    """Restore the files of a stored result from DVC's cache or remote.

    Args:
        stored: Result to restore.
        root: Folder that receives the files.

    Raises:
        InputError: Files of the result are in no cache or remote, or differ from dvc.lock.
    """
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc_data.index import DataIndexDirError

    inputs = [*stored.stage["deps"], *stored.stage["params"]]
    revision = committed_revision(stored.oldest) if stored.oldest else workspace_revision(inputs)
    source = DVCFileSystem(str(paths.ROOT), rev=stored.newest)
    reports = (paths.MODELS, paths.dataset_report(stored.data))
    folders = (f"runs/{stored.data}/{stored.run}", f"plots/{stored.data}/{stored.run}")
    try:
        for path in (*folders, *(file.relative_to(paths.ROOT).as_posix() for file in reports)):
            if not (files := source.find(path)):
                raise FileNotFoundError(path)
            for file in files:
                _restore_file(source, file, root / file)
        return pipeline_result(stored.run, stored.stage, root, revision)
    except (DvcException, DataIndexDirError, OSError) as error:
        remedy = "Try: dvc fetch --all-commits" if stored.newest else "Make it again: dvc repro"
        raise InputError(f"{stored} is in no cache or remote. {remedy}") from error


def _restore_file(source: "DVCFileSystem", file: str, target: Path) -> None:
    """Restore a file; calibration.json is left out if it is missing.

    Results older than calibration.json can have it in dvc.yaml, but not in dvc.lock.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.get_file(file, str(target))
    except FileNotFoundError:
        if target.name != paths.CALIBRATION_FILE:
            raise


def find_commit(fingerprint: str) -> str | None:
    """Return the first commit, of git's history or a DVC experiment, whose dvc.lock has a result."""
    return next((stored.oldest for stored in stored_results() if stored.fingerprint == fingerprint), None)
