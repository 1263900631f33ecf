"""Trainings and their results: what went in, what came out, and where DVC and git hold them."""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import git
import yaml

from mnist_cnn import environment, paths
from mnist_cnn.errors import InputError
from mnist_cnn.paths import RunFiles


@dataclass(frozen=True)
class TrainingInput:
    """What decides a training.

    Attributes:
        run: its name.
        command: the command line that starts it.
        configuration: the text of its config.yaml, complete: values that Keras chose included.
        files: path and MD5 of its data and code. Files of conf/ are left out, their values are in `configuration`.
    """

    run: str
    command: str
    configuration: str
    files: dict[str, str]

    @property
    def identity(self) -> str:
        """A digest of the configuration, the data and the code."""
        return _digest({**self.files, "config.yaml": md5(self.configuration.encode())})

    @property
    def recipe(self) -> str:
        """A digest of what it has in common with its replicates: not the name, seed, number of threads or speed."""
        return recipe(yaml.safe_load(self.configuration), self.files)


@dataclass(frozen=True)
class Revision:
    """Where a result stands in git.

    Attributes:
        commit: its id; none outside a git repository.
        uncommitted: changed files that went into the training.
        experiment: the DVC experiment that the commit belongs to.
    """

    commit: str | None = None
    uncommitted: tuple[str, ...] = ()
    experiment: str | None = None


@dataclass(frozen=True)
class Execution:
    """One execution of a training: what the next one will not repeat.

    Attributes:
        input: what is trained.
        started: seconds since 1970.
        training_images: in an epoch.
        environment: from `environment.describe`.
        revision: of the code.
        parent: the MLflow run of the sweep that it is a trial of.
        epoch_seconds: of each epoch, validation included; empty until they are known.
    """

    input: TrainingInput
    started: float
    training_images: int
    environment: dict[str, str]
    revision: Revision
    parent: str | None = None
    epoch_seconds: list[float] = field(default_factory=list)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` gave."""
        values = json.loads(text)
        revision = values.get("revision", {})  # older files have none
        revision = Revision(**{**revision, "uncommitted": tuple(revision.get("uncommitted", ()))})
        return cls(**{**values, "input": TrainingInput(**values["input"]), "revision": revision})

    def to_json(self) -> str:
        """Return it as one line."""
        return json.dumps(asdict(self))

    def write(self, model: Path) -> None:
        """Store it for good, under the identity of the result that it made.

        The first one that made it stays; only the sweep that it belongs to is the last one.
        """
        file = paths.execution(_digest(_outputs_in(RunFiles(model.parent))))
        first = self
        with suppress(FileNotFoundError, ValueError, KeyError, TypeError):  # none, or a damaged one
            first = self.from_json(file.read_text())
        with paths.replacing(file) as path:
            path.write_text(replace(first, parent=self.parent).to_json() + "\n")


@dataclass(frozen=True)
class Result:
    """A finished training.

    Attributes:
        input: what went in.
        outputs: MD5 of config.yaml, history.csv and model.h5.
        files: where its files are.
        documented: it is a row of params.yaml, made and evaluated by the pipeline.
        revision: where it stands in git.
        execution: how it went, if it was trained in this project folder.
        diagrams: drawings of the model.
        dataset: the description of the data.
    """

    input: TrainingInput
    outputs: dict[str, str]
    files: RunFiles
    documented: bool
    revision: Revision
    execution: Execution | None
    diagrams: tuple[Path, ...]
    dataset: Path

    @property
    def run(self) -> str:
        """Its name."""
        return self.input.run

    @property
    def identity(self) -> str:
        """A digest of the complete configuration, the history and the model."""
        return _digest(self.outputs)


@dataclass(frozen=True)
class Held:
    """A result that DVC can give back.

    Attributes:
        run: its name.
        identity: as that of its `Result`.
        newest: the commit that has its files as they are now; none is the workspace.
        revision: where it came first.
    """

    run: str
    identity: str
    newest: str | None
    revision: Revision

    def __str__(self) -> str:
        """Say which run of which commit it is."""
        return f"{self.run} of " + (f"commit {self.newest[:10]}" if self.newest else "the workspace")


class NotHeldError(InputError):
    """The files of a result are in no cache or remote."""


def training_files() -> dict[str, str]:
    """Hash the data and code of a training in this workspace, which dvc.yaml names: path and MD5.

    Raises:
        FileNotFoundError: a file is missing.
    """
    dependencies = yaml.safe_load(paths.DVC_YAML.read_text())["stages"]["train"]["do"]["deps"]
    return {path: md5((paths.ROOT / path).read_bytes()) for path in dependencies if not path.startswith("conf/")}


def training_input(run: str, command: str, configuration: dict[str, Any], files: dict[str, str]) -> TrainingInput:
    """Describe what decides a training.

    Args:
        run: its name.
        command: the command line that starts it.
        configuration: complete: values that Keras chose included.
        files: from `training_files`.
    """
    return TrainingInput(run, command, yaml.safe_dump(configuration, sort_keys=False), files)


def recipe(configuration: dict[str, Any], files: dict[str, str]) -> str:
    """Digest what a training has in common with its replicates, as `TrainingInput.recipe`."""
    common = {key: value for key, value in configuration.items() if key not in ("run", "training")}
    shared = {
        key: configuration["training"].get(key) for key in ("loss", "precision", "random_shift", "label_smoothing")
    }
    return _digest([files, common, shared])


def recipes(runs: Iterable[str]) -> dict[str, str]:
    """Say what of each documented, trained run its replicates must have in common with it.

    Raises:
        FileNotFoundError: a run is not trained.
    """
    hashes = training_files()
    configurations = {run: yaml.safe_load(paths.documented_run(run).configuration.read_text()) for run in runs}
    return {run: recipe(configuration, hashes) for run, configuration in configurations.items()}


def begin(training: TrainingInput, training_images: int, revision: Revision, parent: str | None = None) -> Execution:
    """Describe an execution that starts now; the arguments as in `Execution`."""
    return Execution(training, time.time(), training_images, environment.describe(), revision, parent)


def read(run: str) -> Result:
    """Find a finished run of this workspace: a row of params.yaml as dvc.lock has it, or a run trained by hand.

    Raises:
        InputError: it is not finished, or its files are not those that were made.
    """
    locked = _locked_results(*_workspace())
    if run in locked:
        return _read_documented(run, locked[run], paths.ROOT, workspace_revision(_md5s(locked[run]["deps"])))
    files = paths.adhoc_run(run)
    if not files.model.exists():
        raise InputError(f"dvc.lock has no evaluated training of run={run}. Make it: dvc repro track@{run}")
    outputs = _outputs_in(files)
    execution = _execution(outputs)
    if execution is None:
        raise InputError(f"{files.directory} is not as it was trained, or executions/ is lost. Train it again.")
    return Result(execution.input, outputs, files, False, execution.revision, execution, (), paths.DATASET_REPORT)


def workspace_revision(files: Iterable[str]) -> Revision:
    """Tell where the workspace stands in git, and which of the files, params.yaml and dvc.yaml are not committed."""
    repository = _repository()
    if repository is None or not repository.head.is_valid():
        return Revision()
    changed = repository.git.status("--porcelain", "--untracked-files=all", "--", "params.yaml", "dvc.yaml", *files)
    uncommitted = tuple(line[3:] for line in changed.splitlines())
    return Revision(repository.head.commit.hexsha, uncommitted, os.environ.get("DVC_EXP_NAME"))


def held() -> list[Held]:
    """List every distinct result of the workspace, of git's history and of DVC's experiments, oldest first."""
    repository = _repository()
    experiments = _experiments(repository)
    found: dict[str, Held] = {}
    for commit, run, stage in _stages(_versions(repository)):
        identity = _digest(_outputs(stage))
        newest = found[identity].newest if identity in found else commit
        origin = Revision(commit, (), experiments.get(commit)) if commit else workspace_revision(_md5s(stage["deps"]))
        found[identity] = Held(run, identity, newest, origin)
    return list(reversed(found.values()))


@contextmanager
def restored(result: Held) -> Iterator[Result]:
    """Yield a held result, its files restored from DVC's cache or remote into a temporary folder.

    Raises:
        NotHeldError: some of its files are in none of them.
    """
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc_data.index import DataIndexDirError

    with TemporaryDirectory() as folder:
        root = Path(folder)
        source = DVCFileSystem(str(paths.ROOT), rev=result.newest)
        reports = (*paths.MODEL_DIAGRAMS, paths.MODEL_SUMMARY, paths.DATASET_REPORT)
        wanted = (Path("runs") / result.run, *(file.relative_to(paths.ROOT) for file in reports))
        try:
            for path in wanted:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                source.get(path.as_posix(), str(root / path), recursive=True)
            stage = _locked_results(source.read_text("dvc.lock"), source.read_text("params.yaml"))[result.run]
        except (DvcException, DataIndexDirError, OSError) as error:
            raise NotHeldError(f"{result} is in no cache or remote. Try: dvc fetch --all-commits") from error
        yield _read_documented(result.run, stage, root, result.revision)


def commit_of(identity: str) -> str | None:
    """Find the first commit, of git's history or a DVC experiment, that has a result in its dvc.lock."""
    found = None
    for commit, _, stage in _stages(version for version in _versions(_repository()) if version[0]):
        if _digest(_outputs(stage)) == identity:
            found = commit
    return found


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """Yield a temporary copy of the project at a commit.

    Raises:
        InputError: git does not have the commit.
    """
    repository = _repository()
    if repository is None:
        raise InputError("This is not a git repository.")
    with TemporaryDirectory(prefix="mnist_cnn_", ignore_cleanup_errors=True) as folder:
        root = Path(folder) / "project"
        try:
            repository.git.worktree("add", "--detach", str(root), commit)
        except git.GitCommandError as error:
            reason = " ".join(error.stderr.split())
            raise InputError(f"git cannot check out commit {commit} ({reason}). Try: git fetch --all") from None
        try:
            yield root
        finally:
            with suppress(git.GitCommandError):  # a process that was interrupted still wrote into it
                repository.git.worktree("remove", "--force", str(root))


def _read_documented(run: str, stage: dict[str, Any], root: Path, revision: Revision) -> Result:
    files = RunFiles(root / "runs" / run)
    outputs = _outputs(stage)
    for name, digest in outputs.items():
        if md5((files.directory / name).read_bytes()) != digest:
            raise InputError(f"runs/{run}/{name} is not the one that dvc.lock has. Restore it: dvc checkout")
    inputs = {path: digest for path, digest in _md5s(stage["deps"]).items() if not path.startswith("conf/")}
    diagrams = (*paths.MODEL_DIAGRAMS, paths.MODEL_SUMMARY)
    return Result(
        TrainingInput(run, stage["cmd"], files.configuration.read_text(), inputs),
        outputs,
        files,
        True,
        revision,
        _execution(outputs),
        tuple(root / file.relative_to(paths.ROOT) for file in diagrams),
        root / paths.DATASET_REPORT.relative_to(paths.ROOT),
    )


def _workspace() -> tuple[str, str]:
    lock, params = (file.read_text() if file.exists() else "" for file in (paths.DVC_LOCK, paths.PARAMS))
    return lock, params


def _versions(repository: git.Repo | None) -> Iterator[tuple[str | None, str, str]]:
    """Yield every dvc.lock with its commit and its params.yaml, newest first; the workspace's has no commit."""
    yield None, *_workspace()
    if repository:
        for commit in repository.git.log("--all", "--full-history", "--format=%H", "--", "dvc.lock").split():
            with suppress(git.GitCommandError):  # one of the files was not there
                yield commit, repository.git.show(f"{commit}:dvc.lock"), repository.git.show(f"{commit}:params.yaml")


def _stages(versions: Iterable[tuple[str | None, str, str]]) -> Iterator[tuple[str | None, str, dict[str, Any]]]:
    """Yield the commit, the run and the `train` stage of each evaluated result of `_versions`."""
    for commit, lock, params in versions:
        try:
            locked = _locked_results(lock, params)
        except InputError:
            if commit is None:
                raise
            continue  # a damaged file that was committed once
        for run, stage in locked.items():
            yield commit, run, stage


def _experiments(repository: git.Repo | None) -> dict[str, str]:
    """Name the DVC experiment of a commit: refs/exps/<2 digits>/<38 digits>/<name>."""
    references = repository.git.for_each_ref("refs/exps", format="%(objectname) %(refname)") if repository else ""
    pairs = (line.split(" ") for line in references.splitlines())
    return {commit: name.split("/")[4] for commit, name in pairs if name.count("/") == 4}


def _locked_results(lock: str, params: str) -> dict[str, Any]:
    """Return the `train` stage of each run that has been evaluated as it was trained.

    Args:
        lock: the text of dvc.lock.
        params: the text of params.yaml; DVC keeps the stages of its removed rows in dvc.lock.
    """
    try:
        stages = (yaml.safe_load(lock) or {}).get("stages", {})
        rows = (yaml.safe_load(params) or {}).get("runs", {})
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"dvc.lock or params.yaml is not YAML: {reason}. Restore it: git checkout …") from None
    results = {}
    for name, stage in stages.items():
        kind, _, run = name.partition("@")
        evaluated = stages.get(f"evaluate@{run}", {}).get("deps", [])
        if kind == "train" and run in rows and set(_md5s(stage["outs"]).items()) <= set(_md5s(evaluated).items()):
            results[run] = stage
    return results


def _outputs_in(files: RunFiles) -> dict[str, str]:
    return {file.name: md5(file.read_bytes()) for file in (files.configuration, files.history, files.model)}


def _outputs(stage: dict[str, Any]) -> dict[str, str]:
    return {Path(path).name: digest for path, digest in _md5s(stage["outs"]).items()}


def _md5s(entries: list[dict[str, str]]) -> dict[str, str]:
    return {entry["path"]: entry["md5"] for entry in entries}


def _execution(outputs: dict[str, str]) -> Execution | None:
    file = paths.execution(_digest(outputs))
    if not file.exists():
        return None
    try:
        return Execution.from_json(file.read_text())
    except (ValueError, KeyError, TypeError) as error:
        lost = "the times of that training are lost, and a run by hand must be trained again"
        raise InputError(f"{file} is damaged ({error}). Remove it: {lost}.") from None


def _repository() -> git.Repo | None:
    try:
        return git.Repo(paths.ROOT)
    except git.InvalidGitRepositoryError:
        return None


def _digest(entry: object) -> str:
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()


def md5(content: bytes) -> str:
    """Hash as DVC does."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
