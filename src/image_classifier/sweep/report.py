"""Texts, tables and plots of a sweep."""

import warnings
from collections import Counter
from datetime import timedelta
from typing import Any

import optuna
import pandas as pd
from matplotlib.figure import Figure
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from pandas.api.types import is_numeric_dtype

from image_classifier.config.schema import Sweep
from image_classifier.sweep.plan import Plan, Results, Trial
from image_classifier.track.outcome import STATES, Outcome

START_SECONDS = 5  # from the start of a trial's process to its first step, on two cores


def format_plan(
    plan: Plan, settings: Sweep, remaining: tuple[int, int], slots: int, epoch_seconds: float | None
) -> str:
    """Describe the trials that a sweep will run.

    Args:
        plan: Plan of the sweep.
        settings: Settings of the sweep.
        remaining: Numbers of trials and epochs to run, from `TrialSearcher.count_remaining`.
        slots: Number of trials that can run at the same time.
        epoch_seconds: Expected duration of an epoch, or None if no similar training is recorded.
    """
    trials, epochs = remaining
    text = f"{plan.num_trials - trials} are recorded already and are not run again, {trials} are to be run."
    if not trials:
        return text
    slots = min(slots, trials, settings.proposal_batch if settings.search == "tpe" else trials)
    limit = "" if settings.scheduler == "none" else f"at most, because {settings.scheduler} stops trials early, "
    unknown = "unknown, no similar training is recorded"
    duration = (
        timedelta(seconds=round((trials * START_SECONDS + epochs * epoch_seconds) / slots))
        if epoch_seconds
        else unknown
    )
    return (
        f"{text}\n{epochs} epochs in all, {slots} trials at a time, CPUs for each: {settings.cpus_per_trial}.\n"
        f"Expected duration: {limit}{duration}."
    )


def format_outcome(trial: Trial, outcome: Outcome) -> str:
    """Describe a trial that has ended in one line."""
    point = " ".join(f"{key}={value}" for key, value in trial.point.items())
    accuracy = "" if outcome.accuracy is None else f", {outcome.accuracy:.2%} after epoch {outcome.epochs}"
    reason = f" ({outcome.reason})" if outcome.reason else ""
    return f"Trial {trial.number} {point}: {outcome.state}{accuracy}{reason}"


def complete_trials(results: Results) -> Results:
    """Return the complete trials, the best first: by their accuracy after the last epoch, then by their number."""
    complete = [(trial, outcome) for trial, outcome in results if outcome.state == "complete"]
    return sorted(complete, key=lambda result: result[1].accuracy or 0, reverse=True)


def trials_table(results: Results) -> pd.DataFrame:
    """Return all trials: the complete ones first, and the best ones first among them.

    Returns:
        Columns trial (from 0), one for each swept key, trained (number of epochs), val_accuracy (after the last of
        them, 0 to 1), state, origin, reason, run and node.
    """
    ranked = [*complete_trials(results), *(result for result in results if result[1].state != "complete")]
    table = pd.DataFrame([{"trial": trial.number, **trial.point} for trial, _ in ranked]).apply(_parse_numbers)
    return table.assign(
        trained=[outcome.epochs for _, outcome in ranked],
        val_accuracy=[outcome.accuracy for _, outcome in ranked],
        **{name: [getattr(outcome, name) for _, outcome in ranked] for name in ("state", "origin", "reason")},
        run=[trial.name for trial, _ in ranked],
        node=[outcome.node for _, outcome in ranked],
    )


def _parse_numbers(column: pd.Series) -> pd.Series:
    try:
        return pd.to_numeric(column)
    except ValueError:
        return column


def summary_metrics(results: Results) -> dict[str, float]:
    """Return the metrics of a sweep in MLflow.

    A crashed trial counts as failed, and a trial that another command recorded as reused.
    """
    states = Counter("failed" if outcome.failed else outcome.state for _, outcome in results)
    best = [outcome.accuracy or 0 for _, outcome in complete_trials(results)]
    metrics: dict[str, float] = {
        "trials": len(results) - states["unfinished"],
        **{state: states[state] for state in ("complete", "pruned", "failed")},
        "reused": sum(outcome.origin == "elsewhere" for _, outcome in results),
        "trial_epochs": sum(outcome.epochs for _, outcome in results),
    }
    return {**metrics, "best_val_accuracy": best[0]} if best else metrics


def format_counts(results: Results) -> str:
    """Return how many trials are in each state, such as "3 complete, 1 failed"."""
    counts = Counter(outcome.state for _, outcome in results)
    return ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])


def format_summary(results: Results, fingerprint: str, num_images: int) -> str:
    """Return a table of all trials, the noise of the best accuracy, and the command that adds the best trial as a run.

    Args:
        results: Trials of the sweep and their outcomes.
        fingerprint: Fingerprint of the sweep.
        num_images: Number of validation images.
    """
    table = trials_table(results).drop(columns=["run", "node"]).rename(columns={"val_accuracy": "accuracy"})
    table["accuracy"] = table["accuracy"].map("{:.2%}".format, na_action="ignore").fillna("")
    text = f"Sweep {fingerprint}: {format_counts(results)}\n\n"
    text += str(table.to_markdown(index=False, floatfmt=".5g"))
    if complete := complete_trials(results):
        accuracies = [outcome.accuracy or 0 for _, outcome in complete]
        # Two standard errors of a difference.
        margin = 2 * (2 * accuracies[0] * (1 - accuracies[0]) / num_images) ** 0.5
        close = sum(accuracy >= accuracies[0] - margin for accuracy in accuracies) - 1
        text += (
            f"\n\nBest: trial {complete[0][0].number} with {accuracies[0]:.2%} of {num_images:,} held-out images. "
            f"Other trials within the noise of the images ({margin:.2%}): {close}."
        )
        text += f"\nMake it a row of params.yaml: image-classifier add-run {fingerprint} best"
    return text


def plot_trials(results: Results) -> dict[str, Figure]:
    """Draw the complete trials as lines through their values, and the importance of each key for the accuracy.

    Returns:
        parallel_coordinates, and importance if the accuracies differ: functional ANOVA
        (https://proceedings.mlr.press/v32/hutter14.html). Empty for fewer than two complete trials, or without keys.
    """
    complete = complete_trials(results)
    points = pd.DataFrame([trial.point for trial, _ in complete]).apply(_parse_numbers)
    if len(complete) < 2 or points.empty:
        return {}
    study = optuna.create_study(direction="maximize")
    distributions = {key: _distribution(values) for key, values in points.items()}
    for params, (_, outcome) in zip(points.to_dict("records"), complete, strict=True):
        trial = optuna.trial.create_trial(params=params, distributions=distributions, value=outcome.accuracy)
        study.add_trial(trial)
    plots = optuna.visualization.matplotlib
    name = "validation accuracy"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna's experimental features, and Matplotlib's axes of equal values
        axes = {"parallel_coordinates": plots.plot_parallel_coordinate(study, target_name=name)}
        if len({trial.value for trial in study.trials}) > 1:
            evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
            axes["importance"] = plots.plot_param_importances(study, evaluator=evaluator, target_name=name)
    for lines in axes["parallel_coordinates"].collections:
        lines.set_cmap("viridis")  # Optuna's color map begins with white, which hides the worst trials
    figures: dict[str, Any] = {name: plot.get_figure(root=True) for name, plot in axes.items()}
    for figure in figures.values():
        figure.set_size_inches(10, 6)
        figure.tight_layout()
    return figures


def _distribution(values: pd.Series) -> BaseDistribution:
    if not is_numeric_dtype(values):
        return CategoricalDistribution(sorted(set(values)))
    low, high = values.min(), values.max()
    return FloatDistribution(low, high, log=bool(low > 0 and high / low > 30))
