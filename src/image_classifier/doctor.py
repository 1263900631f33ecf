"""Checks that configuration, pipeline, files and MLflow agree, with a fix for each disagreement."""

import math
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from image_classifier import environment, paths
from image_classifier.config.compose import check_configuration, load_params
from image_classifier.config.schema import Params, Train
from image_classifier.errors import InputError
from image_classifier.files import read_text

CHECK_AGAIN = "Correct the value, then check again: image-classifier doctor"


@dataclass(frozen=True)
class Problem:
    """A disagreement within the project.

    Attributes:
        message: Description of the problem.
        fix: Command or edit that solves it.
    """

    message: str
    fix: str

    def __str__(self) -> str:
        """Return the message and, on a second line, the fix."""
        return f"{self.message}\n    Fix: {self.fix}"


def find_problems(*, config_only: bool = False) -> Iterator[Problem]:
    """Check the project.

    Args:
        config_only: Whether to check only conf/ and params.yaml, which needs neither DVC nor MLflow.

    Raises:
        InputError: A report is damaged, or MLflow cannot be reached.
    """
    try:
        configurations = check_configuration()
    except InputError as error:
        yield Problem(str(error), CHECK_AGAIN)
        return  # all other checks need the configuration
    yield from configuration_problems(configurations)
    if config_only:
        return
    yield from folder_problems(paths.ROOT)
    for leftover in paths.leftover_runs((config.data.name, run) for run, config in configurations.items()):
        yield Problem(f"{leftover}/ is not a row of params.yaml.", f"rm -r {leftover}")
    with environment.gc_paused():
        from dvc.exceptions import DvcException
        from dvc.repo import Repo

        from image_classifier.provenance.result import locked_stages
    try:
        with Repo(str(paths.ROOT)) as repository:
            status, has_remote = repository.status(), bool(repository.config["remote"])
    except DvcException as error:
        yield Problem(f"DVC: {' '.join(str(error).split())}", "Solve it, then check again: image-classifier doctor")
        return  # the results in dvc.lock cannot be read
    recorded = locked_stages(read_text(paths.DVC_LOCK)) if paths.DVC_LOCK.exists() else {}
    yield from pipeline_problems(status, recorded, has_remote=has_remote)
    yield from replicate_problems(configurations)
    yield from record_problems(load_params())


def folder_problems(folder: Path) -> Iterator[Problem]:
    """Check that DVC can run queued experiments in copies of a folder.

    DVC takes the path for a URL, in which # and ? have a meaning, and writes it to its configuration as ASCII text.
    """
    if not str(folder).isascii() or {"#", "?"} & set(str(folder)):
        reason = "DVC cannot run queued experiments below a folder with #, ? or letters that are not ASCII"
        yield Problem(f"{folder}: {reason}; dvc exp run --run-all hangs.", "Move the project to another folder.")


def record_problems(params: Params) -> Iterator[Problem]:
    """List the results that MLflow lacks, and its open runs that no process trains.

    Args:
        params: Contents of params.yaml.

    Raises:
        InputError: MLflow cannot be reached.
    """
    with environment.gc_paused():
        from image_classifier.provenance.history import stored_results
        from image_classifier.provenance.result import read_result
        from image_classifier.track.backfill import abandoned_runs, missing_results
    results = [result for result in stored_results() if result.newest is None]
    for result in missing_results(results):
        yield Problem(f"MLflow does not have {result}.", "image-classifier backfill")
    trained = {}
    for run in paths.finished_adhoc_runs():
        try:
            trained[run] = read_result(run)
        except InputError as error:
            yield Problem(str(error), f"Train again, or remove the run: rm -r outputs/{run}")
    missing = missing_results(list(trained.values()))
    unrecorded = [run for run, result in trained.items() if result in missing]
    for run in unrecorded:
        yield Problem(f"MLflow does not have outputs/{run}/.", f"python -m pipelines.track run={run}")
    for run_id, name, command in (run for data in params.datasets for run in abandoned_runs(data)):
        if name not in unrecorded:
            fix = (
                f"{'dvc repro' if name in params.runs else command}, or remove it: mlflow runs delete --run-id {run_id}"
            )
            yield Problem(f"MLflow run {run_id} ({name}) is open, but no process trains it.", fix)


def configuration_problems(configurations: Mapping[str, Train]) -> Iterator[Problem]:
    """Check the values that only Keras or the data set can judge.

    Args:
        configurations: Configuration of each row of params.yaml.
    """
    with environment.tensorflow_import():
        from image_classifier.train.model import build_model
        from image_classifier.train.optimizer import build_optimizer
    rows = load_params().runs
    messages = []
    for run, config in configurations.items():
        images = config.data.train_examples or config.batch_size  # the number of a user's own images is not known yet
        if config.batch_size > images:
            limit = f"{images}, the number of training images (train_examples in conf/data/{config.data.name}.yaml)"
            messages.append(f"params.yaml: runs.{run}: batch_size={config.batch_size}: should be at most {limit}.")
        try:
            build_optimizer(config.optimizer, config.epochs * math.ceil(images / config.batch_size))
        except InputError as error:
            messages.append(f"conf/optimizer/{rows[run].optimizer}.yaml: {error}")
        try:
            model, data = config.model, config.data
            build_model(model.name, model.layers, data.image_shape, len(data.classes), config.training.precision)
        except InputError as error:
            messages.append(str(error))
    for message in dict.fromkeys(messages):  # rows share optimizers and models
        yield Problem(message, CHECK_AGAIN)


def pipeline_problems(
    status: dict[str, Any], recorded: Container[str], *, has_remote: bool = False
) -> Iterator[Problem]:
    """List the stages that do not match dvc.lock.

    A changed output is reported once, not again as a dependency of later stages.

    Args:
        status: Changes of each stage, in the form of `dvc status --json`.
        recorded: Stages that dvc.lock has. DVC lists every file of any other stage as changed.
        has_remote: Whether DVC has a remote, from which lost outputs can come.
    """
    all_outputs = [PurePath(path) for changes in status.values() for path in _list_changes(changes, "changed outs")]
    for stage, changes in status.items():
        if stage not in recorded:
            yield Problem(f"{stage} has not run yet.", "dvc repro")
            continue
        outputs = _list_changes(changes, "changed outs")
        inputs = {
            path: change
            for path, change in _list_changes(changes, "changed deps").items()
            if not any(output.is_relative_to(path) or PurePath(path).is_relative_to(output) for output in all_outputs)
        }
        if outputs or inputs or "changed command" in changes:
            listed = ", ".join(f"{path} {change}" for path, change in (inputs | outputs).items())
            lost = [path for path, change in inputs.items() if change == "deleted"]
            pull = "dvc pull, or " if has_remote and "not in cache" in outputs.values() and not inputs else ""
            fix = f"Restore {', '.join(lost)}, or correct its path in params.yaml." if lost else f"{pull}dvc repro"
            yield Problem(f"{stage} does not match dvc.lock: {listed or 'its command changed'}.", fix)


def _list_changes(changes: list[Any], kind: str) -> dict[str, str]:
    """Return the change of each file of a stage, and of each value of a file with parameters, as "file: key"."""
    listed: dict[str, str] = {}
    for entry in changes:
        files = entry.get(kind, {}) if isinstance(entry, dict) else {}  # "changed command" is a text
        for path, change in files.items():
            if isinstance(change, dict):
                listed |= {f"{path}: {key}": how for key, how in change.items()}
            else:
                listed[path] = change
    return listed


def replicate_problems(configurations: Mapping[str, Train]) -> Iterator[Problem]:
    """List the runs whose replicates in reports/replicates.csv have another recipe than the workspace.

    Args:
        configurations: Configuration of each row of params.yaml.

    Raises:
        InputError: reports/replicates.csv is damaged.
    """
    from image_classifier.compare.seeds import read_replicates
    from image_classifier.provenance.fingerprint import workspace_recipes

    replicates = read_replicates(paths.REPLICATES)
    trained: dict[str, list[str]] = {}
    for run, config in configurations.items():
        data = config.data.name
        if paths.pipeline_run(data, run).configuration.exists() and paths.prepared_data(data).exists():
            trained.setdefault(data, []).append(run)
    for data, runs in trained.items():
        for run, recipe in workspace_recipes(data, runs).items():
            if set(replicates["recipe"][replicates["run"] == run]) - {recipe}:
                yield Problem(
                    f"reports/replicates.csv has seeds of {run} from an older configuration, data set or code.",
                    f"image-classifier replicate {run}",
                )
