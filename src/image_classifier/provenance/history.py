"""Results that DVC stores: in the workspace, in git's history, and in DVC experiments."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import git
import yaml

from image_classifier import paths
from image_classifier.errors import InputError
from image_classifier.provenance.dvc_lock import Stage, locked_inputs, locked_outputs, locked_trainings
from image_classifier.provenance.result import Result, pipeline_result, read_workspace
from image_classifier.provenance.revision import Revision, open_repository, workspace_revision
from image_classifier.provenance.run_metadata import result_fingerprint


@dataclass(frozen=True)
class StoredResult:
    """A result that DVC can restore.

    Attributes:
        run: Name of the run.
        fingerprint: Fingerprint of the `Result`.
        newest: Newest commit that has the files in their present state; None means the workspace.
        revision: Oldest position in git.
    """

    run: str
    fingerprint: str
    newest: str | None
    revision: Revision

    def __str__(self) -> str:
        """Return the run and its commit."""
        return f"{self.run} of " + (f"commit {self.newest[:10]}" if self.newest else "the workspace")


class NotStoredError(InputError):
    """The files of a result are in no cache and no remote."""


def stored_results() -> list[StoredResult]:
    """List every distinct result of the workspace, of git's history and of DVC experiments, oldest first."""
    repository = open_repository()
    experiments = _experiments(repository)
    found: dict[str, StoredResult] = {}
    for commit, run, stage in _trainings(_versions(repository)):
        fingerprint = result_fingerprint(locked_outputs(stage))
        newest = found[fingerprint].newest if fingerprint in found else commit
        inputs = locked_inputs(stage)
        revision = Revision(commit, (), experiments.get(commit)) if commit else workspace_revision(inputs)
        found[fingerprint] = StoredResult(run, fingerprint, newest, revision)
    return list(reversed(found.values()))


@contextmanager
def restored(stored: StoredResult) -> Iterator[Result]:
    """Yield a stored result whose files are restored from DVC's cache or remote into a temporary folder.

    Raises:
        NotStoredError: Files of the result are in no cache or remote, or an older version of the project made it.
    """
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc_data.index import DataIndexDirError

    with TemporaryDirectory() as folder:
        root = Path(folder)
        source = DVCFileSystem(str(paths.ROOT), rev=stored.newest)
        reports = (*paths.MODEL_DIAGRAMS, paths.MODEL_SUMMARY, paths.DATASET_REPORT)
        wanted = (Path("runs") / stored.run, *(file.relative_to(paths.ROOT) for file in reports))
        try:
            for path in wanted:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                source.get(path.as_posix(), str(root / path), recursive=True)
            trainings = locked_trainings(source.read_text("dvc.lock"), source.read_text("params.yaml"))
            result = pipeline_result(stored.run, trainings[stored.run], root, stored.revision)
        except (DvcException, DataIndexDirError, OSError) as error:
            raise NotStoredError(f"{stored} is in no cache or remote. Try: dvc fetch --all-commits") from error
        if "_target_" not in yaml.safe_load(result.input.configuration)["optimizer"]:
            raise NotStoredError(f"{stored} was trained by an older version of this project, and is skipped.")
        yield result


def find_commit(fingerprint: str) -> str | None:
    """Return the first commit, of git's history or a DVC experiment, whose dvc.lock has a result."""
    found = None
    for commit, _, stage in _trainings(version for version in _versions(open_repository()) if version[0]):
        if result_fingerprint(locked_outputs(stage)) == fingerprint:
            found = commit
    return found


def _versions(repository: git.Repo | None) -> Iterator[tuple[str | None, str, str]]:
    """Yield commit, dvc.lock and params.yaml of each version, newest first; the workspace has no commit."""
    yield None, *read_workspace()
    if repository:
        for commit in repository.git.log("--all", "--full-history", "--format=%H", "--", "dvc.lock").split():
            with suppress(git.GitCommandError):  # one of the files did not exist
                yield commit, repository.git.show(f"{commit}:dvc.lock"), repository.git.show(f"{commit}:params.yaml")


def _trainings(versions: Iterable[tuple[str | None, str, str]]) -> Iterator[tuple[str | None, str, Stage]]:
    """Yield commit, run and `train` stage of each evaluated result."""
    for commit, lock, params in versions:
        try:
            locked = locked_trainings(lock, params)
        except InputError:
            if commit is None:
                raise
            continue  # a damaged file that was committed once
        for run, stage in locked.items():
            yield commit, run, stage


def _experiments(repository: git.Repo | None) -> dict[str, str]:
    """Return commit and name of each DVC experiment: refs/exps/<2 digits>/<38 digits>/<name>."""
    references = repository.git.for_each_ref("refs/exps", format="%(objectname) %(refname)") if repository else ""
    pairs = (line.split(" ") for line in references.splitlines())
    return {commit: name.split("/")[4] for commit, name in pairs if name.count("/") == 4}
