"""Comparison of the results of the pipeline with the results in git."""

from collections.abc import Iterator

import git
import pandas as pd

from image_classifier import paths
from image_classifier.compare import seeds
from image_classifier.config.lookup import select_runs
from image_classifier.config.schema import Params
from image_classifier.errors import InputError
from image_classifier.files import read_json
from image_classifier.provenance.fingerprint import workspace_recipes
from image_classifier.provenance.result import Stage, committed_trainings, workspace_trainings
from image_classifier.provenance.revision import open_repository

INPUTS = ("cmd", "deps", "params")  # keys of a stage that decide its outputs, apart from the machine


def describe_results(params: Params, confidence: float) -> Iterator[str]:
    """Yield the results of each data set, and a sentence about each run: whether it reproduces the commit's result.

    Args:
        params: Contents of params.yaml.
        confidence: Level of the prediction intervals, 0 to 1, exclusive.

    Raises:
        FileNotFoundError: A run is not trained, or not evaluated and compared.
        InputError: A file is damaged, or git cannot read the repository.
    """
    committed = _head_trainings()
    trained = workspace_trainings()
    histories = seeds.read_replicates(paths.REPLICATES)
    for data in params.datasets:
        report = paths.comparison(data, "md")
        yield report.read_text(encoding="utf-8").partition("\n## ")[0]
        yield f"All plots and tests: {report.relative_to(paths.ROOT)}\n"
        runs = select_runs(params.runs, data)
        recipes = workspace_recipes(data, runs)
        replicates = seeds.select_replicates(histories, recipes)
        for run in runs:
            if run not in trained:
                raise InputError(f"dvc.lock does not have the evaluated result of {run}. Make it: dvc repro")
            metrics = paths.pipeline_run(data, run).metrics
            accuracy = read_json(metrics, lambda values: float(values["test_accuracy"]))
            sentence = describe_reproduction(
                committed.get(run), trained[run], accuracy, replicates.get(run), confidence
            )
            yield f"{run}: {sentence}"
        yield ""


def _head_trainings() -> dict[str, Stage]:
    """Return the `committed_trainings` of the current commit, which has none without git or without dvc.lock.

    Raises:
        InputError: A file of the commit is damaged, or git cannot read the repository.
    """
    repository = open_repository()
    if repository is None:
        return {}
    try:
        return committed_trainings(repository, "HEAD")
    except git.GitCommandError:  # there is no commit, or it has no such file
        return {}


def describe_reproduction(
    committed: Stage | None, trained: Stage, accuracy: float, replicates: pd.DataFrame | None, confidence: float
) -> str:
    """Return a sentence that says whether a training reproduces the committed one.

    If the outputs differ, for example because another processor rounds differently, the test accuracy is compared with
    the prediction interval of the run's seeds, see `seeds.prediction_intervals`.

    Args:
        committed: The run's `train` stage in the commit's dvc.lock; None if the commit has no evaluated result of it.
        trained: The same stage in the workspace.
        accuracy: Test accuracy of the training, 0 to 1.
        replicates: Replicates of the run, columns `seeds.COLUMNS`; None if there are fewer than two.
        confidence: Level of the prediction interval, 0 to 1, exclusive.
    """
    if committed is None:
        return "git has no result to compare with."
    if any(committed[key] != trained[key] for key in INPUTS):
        return "not compared with the result in git, which has another configuration, data set or code."
    if committed["outs"] == trained["outs"]:
        return "reproduced, the same bytes as in git."
    if replicates is None:
        return f"other bytes than in git, {accuracy:.2%} test accuracy. There are no replicates to judge it by."
    last = seeds.prediction_intervals({"run": replicates}, confidence)["run"].iloc[-1]
    low = last["low", "val_accuracy"]
    high = min(last["high", "val_accuracy"], 1)
    seeds_used = f"{replicates['seed'].nunique()} seeds of environment {replicates['environment'].iloc[0]}"
    interval = f"the {100 * confidence:g}% prediction interval of {seeds_used}"
    evidence = f"{accuracy:.2%} test accuracy; {interval} is {low:.2%} to {high:.2%}"
    if low <= accuracy <= high:
        return f"reproduced within the noise of the seeds, other bytes than in git ({evidence})."
    return f"NOT reproduced ({evidence})."
