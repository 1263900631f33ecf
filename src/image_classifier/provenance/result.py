"""Results of finished trainings in the workspace."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from image_classifier import paths
from image_classifier.errors import InputError
from image_classifier.files import file_hashes
from image_classifier.paths import RunFiles
from image_classifier.provenance.dvc_lock import Stage, hashes, locked_inputs, locked_outputs, locked_trainings
from image_classifier.provenance.fingerprint import TrainingInput, workspace_recipe
from image_classifier.provenance.revision import Revision, workspace_revision
from image_classifier.provenance.run_metadata import RunMetadata, output_hashes, read_metadata, result_fingerprint


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
        diagrams: Drawings of the model.
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
    def run(self) -> str:
        """Name of the run."""
        return self.input.run

    @property
    def fingerprint(self) -> str:
        """Digest of the outputs."""
        return result_fingerprint(self.outputs)

    @property
    def recipe(self) -> str | None:
        """Recipe fingerprint, or None if the training code is not that of this workspace."""
        return workspace_recipe(yaml.safe_load(self.input.configuration), self.input.files)


def read_workspace() -> tuple[str, str]:
    """Return the texts of dvc.lock and params.yaml, empty where there is no file."""
    lock, params = (file.read_text() if file.exists() else "" for file in (paths.DVC_LOCK, paths.PARAMS))
    return lock, params


def read_result(run: str) -> Result:
    """Find the result of a run of this workspace: a pipeline run in dvc.lock, or an ad hoc run.

    Raises:
        InputError: The training is not finished, or its files have changed since.
    """
    locked = locked_trainings(*read_workspace())
    if run in locked:
        return pipeline_result(run, locked[run], paths.ROOT, workspace_revision(locked_inputs(locked[run])))
    files = paths.adhoc_run(run)
    if not files.model.exists():
        raise InputError(f"dvc.lock has no evaluated training of run={run}. Make it: dvc repro track@{run}")
    outputs = output_hashes(files)
    metadata = read_metadata(outputs)
    if metadata is None:
        raise InputError(f"{files.directory} has changed since it was trained, or run_metadata/ is lost. Train again.")
    return Result(metadata.input, outputs, files, False, metadata.revision, metadata, (), paths.DATASET_REPORT)


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
    files = RunFiles(root / "runs" / run)
    outputs = locked_outputs(stage)
    found = file_hashes(files.directory, outputs)
    for name, md5 in outputs.items():
        if name not in found:
            raise FileNotFoundError(str(files.directory / name))
        if found[name] != md5:
            raise InputError(f"runs/{run}/{name} differs from dvc.lock. Restore it: dvc checkout")
    inputs = {path: md5 for path, md5 in hashes(stage["deps"]).items() if not path.startswith("conf/")}
    diagrams = (*paths.MODEL_DIAGRAMS, paths.MODEL_SUMMARY)
    return Result(
        TrainingInput(run, stage["cmd"], files.configuration.read_text(), inputs),
        outputs,
        files,
        True,
        revision,
        read_metadata(outputs),
        tuple(root / file.relative_to(paths.ROOT) for file in diagrams),
        root / paths.DATASET_REPORT.relative_to(paths.ROOT),
    )
