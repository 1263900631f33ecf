"""Checks that configuration, pipeline, files and MLflow agree, with a fix for each disagreement."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from image_classifier import environment, paths
from image_classifier.config.compose import check_configuration, compose, load_table, load_tracking, resolve
from image_classifier.config.schema import Prepare, Train
from image_classifier.errors import InputError

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
        images = resolve(Prepare, compose("prepare", [])).data.train_examples
    except InputError as error:
        yield Problem(str(error), CHECK_AGAIN)
        return  # all other checks need the configuration
    yield from configuration_problems(configurations, images)
    if config_only:
        return
    for leftover in paths.leftover_runs(configurations):
        yield Problem(f"{leftover}/ is not a row of params.yaml.", f"rm -r {leftover}")
    with environment.gc_paused():
        from dvc.exceptions import DvcException
        from dvc.repo import Repo
    try:
        status = Repo(str(paths.ROOT)).status()
    except DvcException as error:
        yield Problem(f"DVC: {' '.join(str(error).split())}", "Solve it, then check again: image-classifier doctor")
        return  # the results in dvc.lock cannot be read
    yield from pipeline_problems(status)
    yield from replicate_problems(configurations)
    yield from tracking_problems()


def configuration_problems(configurations: Mapping[str, Train], images: int) -> Iterator[Problem]:
    """Check the values that only Keras or the data set can judge.

    Args:
        configurations: Configuration of each row of params.yaml.
        images: Number of images in the training set.
    """
    with environment.tensorflow_import():
        from image_classifier.train.model import build_model
        from image_classifier.train.optimizer import build_optimizer
    rows = load_table()
    messages = []
    for run, config in configurations.items():
        training_images = images - config.validation.size
        if config.batch_size > training_images:
            limit = f"{training_images}, the number of training images (train_examples in conf/data/mnist.yaml)"
            messages.append(f"params.yaml: runs.{run}: batch_size={config.batch_size}: should be at most {limit}.")
        try:
            build_optimizer(config.optimizer, config.epochs * math.ceil(training_images / config.batch_size))
        except InputError as error:
            messages.append(f"conf/optimizer/{rows[run].optimizer}.yaml: {error}")
        try:
            build_model(config.model.name, config.model.layers, config.training.precision)
        except InputError as error:
            messages.append(str(error))
    for message in dict.fromkeys(messages):  # rows share optimizers and models
        yield Problem(message, CHECK_AGAIN)


def pipeline_problems(status: dict[str, Any]) -> Iterator[Problem]:
    """List the stages that do not match dvc.lock.

    A changed output is reported once, not again as a dependency of later stages.

    Args:
        status: Changes of each stage, in the form of `dvc status --json`.
    """
    outputs = {path for changes in status.values() for path in _changes(changes, "outs")}
    for stage, changes in status.items():
        own = _changes(changes, "outs")
        changed = {path: how for path, how in _changes(changes, "deps").items() if not _is_output(path, outputs)}
        if "changed command" in changes or own or changed:
            listed = ", ".join(f"{path} {how}" for path, how in {**changed, **own}.items())
            pull = "dvc pull, or " if "not in cache" in own.values() and not changed else ""
            yield Problem(f"{stage} does not match dvc.lock: {listed or 'its command changed'}.", f"{pull}dvc repro")


def _changes(changes: list[Any], kind: str) -> dict[str, str]:
    """Return the changed files, and the changed values as "file: key"; DVC nests the values of a file."""
    found: dict[str, str] = {}
    for change in changes:
        entries = change.get(f"changed {kind}", {}) if isinstance(change, dict) else {}
        for path, how in entries.items():
            found |= {path: how} if isinstance(how, str) else {f"{path}: {key}": value for key, value in how.items()}
    return found


def _is_output(path: str, outputs: set[str]) -> bool:
    """Return whether a dependency is an output, or a folder of outputs."""
    return any(output == path or output.startswith(f"{path}/") for output in outputs)


def replicate_problems(configurations: Mapping[str, Train]) -> Iterator[Problem]:
    """List the runs whose replicates in reports/replicates.csv have another recipe than the workspace.

    Args:
        configurations: Configuration of each row of params.yaml.

    Raises:
        InputError: reports/replicates.csv is damaged.
    """
    from image_classifier.compare.seeds import read_replicates
    from image_classifier.provenance.fingerprint import workspace_recipes

    if not paths.PREPARED_DATA.exists():
        return
    replicates = read_replicates(paths.REPLICATES)
    trained = [run for run in configurations if paths.pipeline_run(run).configuration.exists()]
    for run, recipe in workspace_recipes(trained).items():
        if set(replicates["recipe"][replicates["run"] == run]) - {recipe}:
            yield Problem(
                f"reports/replicates.csv has seeds of {run} from an older configuration, data set or code.",
                f"image-classifier replicate {run}",
            )


def tracking_problems() -> Iterator[Problem]:
    """List the results of the workspace that MLflow does not have.

    Raises:
        InputError: MLflow cannot be reached.
    """
    with environment.gc_paused():
        from image_classifier.provenance.history import stored_results
        from image_classifier.track.backfill import unrecorded_results

    results = [result for result in stored_results() if result.newest is None]
    for result in unrecorded_results(load_tracking().experiment, results):
        yield Problem(f"MLflow does not have {result}.", "image-classifier backfill")
