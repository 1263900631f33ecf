"""Results of finished trainings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import git
import pandas as pd
import yaml
from yaml import CSafeLoader

from image_classifier import paths
from image_classifier.errors import InputError
from image_classifier.files import digest, file_hashes, read_text, translate_damage
from image_classifier.paths import RunFiles
from image_classifier.provenance.fingerprint import (
    TrainingInput,
    data_hash,
    data_name,
    training_files,
    workspace_recipe,
)
from image_classifier.provenance.revision import Revision, workspace_revision
from image_classifier.provenance.run_metadata import OUTPUTS, RunMetadata, read_metadata

Stage = dict[str, Any]  # an entry of dvc.lock, with path (`deps`) or file name (`outs`) and MD5 of each file


@dataclass(frozen=True)
class Result:
    """Result of a finished training.

    Attributes:
        input: Configuration, data and code.
        outputs: MD5 of config.yaml, history.csv and model.h5.
        files: Files of the run.
        is_pipeline_run: Whether it is a row of params.yaml that the pipeline trained and evaluated.
        revision: Position in git.
        metadata: Times and machine, if it was trained in this project folder.
        diagrams: Drawings of the model, and the table of its layers.
        dataset: Description of the data set.
    """

    input: TrainingInput
    outputs: dict[str, str]
    files: RunFiles
    is_pipeline_run: bool
    revision: Revision
    metadata: RunMetadata | None
    diagrams: tuple[Path, ...]
    dataset: Path

    @property
    def data(self) -> str:
        """Name of the data set."""
        return self.input.data

    @property
    def fingerprint(self) -> str:
        """Digest of the outputs."""
        return digest(self.outputs)

    @property
    def is_evaluated(self) -> bool:
        """Whether it has test metrics in a file: a pipeline run, or an ad hoc run that was evaluated on demand."""
        return self.is_pipeline_run or self.files.metrics.exists()

    @property
    def recipe(self) -> str | None:
        """Recipe fingerprint, or None if the training code is not that of this workspace."""
        return workspace_recipe(self.input.config, self.input.files)


@dataclass(frozen=True)
class RecordedRun:
    """A result as MLflow has recorded it.

    Attributes:
        run_id: Id of its MLflow run.
        input: Configuration, data and code.
        fingerprint: Fingerprint of its result.
        commit: Commit that was checked out when it was trained; None outside of a git repository.
        uncommitted: Changed files that went into it, as text.
        environment: Facts from `environment.describe`.
        history: Columns loss, accuracy, val_loss and val_accuracy; index epoch, from 1.
        model: MD5 of its model.h5.
        recipe: Recipe fingerprint, if the record has one.
        training_images: Number of images in an epoch.
    """

    run_id: str
    input: TrainingInput
    fingerprint: str
    commit: str | None
    uncommitted: str
    environment: dict[str, str]
    history: pd.DataFrame
    model: str
    recipe: str | None
    training_images: int


def read_result(run: str) -> Result:
    """Find the result of a run of this workspace: a pipeline run in dvc.lock, or an ad hoc run.

    Raises:
        InputError: The training is not finished, or its files have changed since.
    """
    stage = workspace_trainings().get(run)
    if stage:
        return pipeline_result(run, stage, paths.ROOT, workspace_revision([*stage["deps"], *stage["params"]]))
    files = paths.adhoc_run(run)
    if not files.model.exists():
        raise InputError(f"dvc.lock has no evaluated training of run={run}. Make it: dvc repro track@{run}")
    outputs = file_hashes(files.directory, OUTPUTS)
    metadata = read_metadata(outputs)
    if metadata is None:
        raise InputError(f"{files.directory} has changed since it was trained, or run_metadata/ is lost. Train again.")
    report = paths.dataset_report(metadata.input.data)
    return Result(metadata.input, outputs, files, False, metadata.revision, metadata, (), report)


def check_training_data(result: Result) -> None:
    """Check that an ad hoc run was trained on the images that its data set has now.

    Otherwise its held-out images and the names of its classes are not known, and its metrics would be recorded beside
    another hash of the data.

    Raises:
        FileNotFoundError: The prepared data set is missing.
        InputError: The data set has changed since the training.
    """
    trained = result.input
    if data_hash(trained.files) != data_hash(training_files(trained.data)):
        place = paths.prepared_data(trained.data).relative_to(paths.ROOT)
        change = f"run={trained.run} was trained on other images than {place} has now"
        raise InputError(f"{change}. Train again: {trained.command}")


def workspace_trainings() -> dict[str, Stage]:
    """Return the `locked_trainings` of this workspace, which has none without dvc.lock or params.yaml.

    Raises:
        InputError: One of the files is damaged.
    """
    return locked_trainings(*(read_text(file) if file.exists() else "" for file in (paths.DVC_LOCK, paths.PARAMS)))


def committed_trainings(repository: git.Repo, commit: str) -> dict[str, Stage]:
    """Return the `locked_trainings` of a commit.

    Raises:
        GitCommandError: The commit does not exist, or has no dvc.lock or params.yaml.
        InputError: One of the files is damaged.
    """
    lock = repository.git.show(f"{commit}:dvc.lock")
    params = repository.git.show(f"{commit}:params.yaml")
    return locked_trainings(lock, params)


def locked_stages(lock: str) -> dict[str, Any]:
    """Return the entries of all stages in dvc.lock by name.

    Args:
        lock: Text of dvc.lock.

    Raises:
        InputError: The text is not YAML of this form.
    """
    with translate_damage(paths.DVC_LOCK):
        # The parser in C, because dvc.lock has 300 lines for each run
        stages: dict[str, Any] = (yaml.load(lock, CSafeLoader) or {}).get("stages", {})
    return stages


def locked_trainings(lock: str, params: str) -> dict[str, Stage]:
    """Return the `train` stage of each run whose evaluation used the same outputs.

    Left out are stages of older versions of this project, which had a single data set.

    Args:
        lock: Text of dvc.lock.
        params: Text of params.yaml; dvc.lock keeps the stages of removed rows.

    Raises:
        InputError: One of the texts is not YAML of this form.
    """
    with translate_damage(paths.PARAMS):
        rows = dict((yaml.safe_load(params) or {}).get("runs", {}))
    trainings = {}
    stages = locked_stages(lock)
    with translate_damage(paths.DVC_LOCK):
        for run, row in rows.items():
            stage = stages.get(f"train@{run}")
            if stage is None or "data" not in row:
                continue
            evaluated = {(file["path"], file["md5"]) for file in stages.get(f"evaluate@{run}", {}).get("deps", [])}
            if evaluated.issuperset((file["path"], file["md5"]) for file in stage["outs"]):
                deps = {file["path"]: file["md5"] for file in stage["deps"]}
                outs = {Path(file["path"]).name: file["md5"] for file in stage["outs"]}
                trainings[run] = {**stage, "deps": deps, "outs": outs}
    return trainings


def pipeline_result(run: str, stage: Stage, root: Path, revision: Revision) -> Result:
    """Return the result of a pipeline run.

    Args:
        run: Name of the run.
        stage: The run's `train` stage in dvc.lock.
        root: Folder with the files: the project, or a copy.
        revision: Position in git.

    Raises:
        FileNotFoundError: A file of the run is missing.
        InputError: A file of the run differs from dvc.lock.
    """
    data = data_name(stage["deps"])
    outputs = stage["outs"]
    files = paths.pipeline_run(data, run, root)
    found = file_hashes(files.directory, outputs)
    for name, md5 in outputs.items():
        if name not in found:
            raise FileNotFoundError(str(files.directory / name))
        if found[name] != md5:
            raise InputError(f"runs/{data}/{run}/{name} differs from dvc.lock. Restore it: dvc checkout")
    training = TrainingInput(run, stage["cmd"], files.configuration.read_text(encoding="utf-8"), stage["deps"])
    with translate_damage(files.configuration):
        model = training.config["model"]["name"]
    return Result(
        training,
        outputs,
        files,
        True,
        revision,
        read_metadata(outputs),
        paths.model_diagrams(model, data, root),
        paths.dataset_report(data, root),
    )
