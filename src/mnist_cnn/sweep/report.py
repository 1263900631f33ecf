"""What a sweep has found: tables and plots."""

import warnings
from collections.abc import Iterable
from functools import partial
from typing import Any

import matplotlib as mpl
import optuna
import pandas as pd
from matplotlib.figure import Figure
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from tabulate import tabulate

from mnist_cnn.schema import Sweep
from mnist_cnn.sweep.engine import Trials
from mnist_cnn.sweep.plan import Plan
from mnist_cnn.sweep.space import Space
from mnist_cnn.sweep.trials import Outcome, Trial

LEADERS = 5  # finished trials in a progress report

UNFINISHED = "not finished"
COLUMNS = ("trained", "val_accuracy", "state", "reason", "run", "node")
ORIGINS = {"now": "", "before": ", recorded before", "elsewhere": ", reused"}

mpl.use("Agg")  # Optuna draws with pyplot, which would look for a screen


def best_of(trials: Iterable[Trial], outcomes: dict[int, Outcome]) -> Trial | None:
    """Return the complete trial with the highest accuracy after its last epoch; of equals, the first."""
    complete = [trial for trial in trials if trial.number in outcomes and outcomes[trial.number].complete]
    return max(complete, key=lambda trial: outcomes[trial.number].accuracy or 0, default=None)


def table(trials: Iterable[Trial], outcomes: dict[int, Outcome]) -> pd.DataFrame:
    """List trials, the best first.

    Returns:
        Columns trial (from 0), one for each open key, and `COLUMNS`; trained: epochs; val_accuracy: after the last.
    """
    rows = []
    for trial in trials:
        outcome = outcomes.get(trial.number)
        state = UNFINISHED if outcome is None else outcome.state + ORIGINS[outcome.origin]
        rows.append(
            {
                "trial": trial.number,
                **short(trial.values),
                "trained": max(outcome.accuracies, default=0) if outcome else 0,
                "val_accuracy": outcome.accuracy if outcome else None,
                "state": state,
                "reason": outcome.reason if outcome else "",
                "run": trial.name,
                "node": outcome.node if outcome else "",
            }
        )
    frame = pd.DataFrame(rows, columns=None if rows else ["trial", *COLUMNS])
    complete = frame["state"].str.startswith("complete")
    order = frame.assign(complete=complete).sort_values(
        ["complete", "val_accuracy", "trial"], ascending=[False, False, True]
    )
    return order.drop(columns="complete").reset_index(drop=True)


def short(values: dict[str, str]) -> dict[str, str]:
    """Shorten keys to their last part, where that is still unique, and numbers to five digits."""
    names = [key.rpartition(".")[2] for key in values]
    return {
        name if names.count(name) == 1 else key: _rounded(value)
        for (key, value), name in zip(values.items(), names, strict=True)
    }


def opening(planned: Plan, space: Space, settings: Sweep) -> str:
    """Say what a sweep is."""
    opened = ", ".join(f"{key}={text}" for key, text in space.text().items()) or "nothing that is open"
    return f"Sweep {planned.identity}: {planned.count} trials, {settings.search} over {opened}."


def plan(planned: Plan, settings: Sweep, trials: int, epochs: int, at_once: int, seconds: float | None) -> str:
    """Say what a sweep is about to do.

    Args:
        planned: the sweep.
        settings: how.
        trials: that have to be run.
        epochs: of these, if none is stopped early.
        at_once: trials for which there are CPUs.
        seconds: of one trial after the other; none if no training tells.
    """
    at_once = min(at_once, trials, settings.batch if settings.search == "tpe" else trials)
    lines = [
        f"{planned.count - trials} of them are recorded and count without being run again, {trials} are to be run.",
    ]
    if trials:
        early = {"none": "", "asha": "At most, as asha stops trials early: ", "median": "At most: "}[settings.stopping]
        time = f"about {_duration(seconds / at_once)}" if seconds else "unknown, as no recorded training is like these"
        lines += [
            f"{epochs} epochs, {at_once} trials at once, CPUs for each: {settings.cpus_per_trial}.",
            f"{early}{time} of training." if seconds else f"How long that takes is {time}.",
        ]
    return "\n".join(lines)


def params(space: Space, settings: Sweep) -> dict[str, str]:
    """Describe a sweep in MLflow."""
    described = {"search": settings.search, "stopping": settings.stopping, "seed": settings.seed}
    opened = {f"space.{key.lstrip('+')}": text for key, text in space.text().items()}
    return {**{name: str(value) for name, value in described.items()}, **opened}


def progress(tried: Trials, planned: Plan, seconds: float) -> str:
    """Show the trials that run, and the best ones so far."""
    counts = ", ".join(f"{count} {state}" for state, count in _counts(tried.outcomes).items() if count)
    head = f"{len(tried.outcomes)} of {planned.count} trials after {_duration(seconds)}" + (
        f": {counts}" if counts else ""
    )
    running = [
        {
            "trial": trial.number,
            **short(trial.values),
            "trained": f"{max(seen, default=0)} of {trial.config.epochs}",
            "accuracy": f"{seen[max(seen)]:.2%}" if seen else "",
            "state": "running" if trial.name in tried.started else "waiting",
        }
        for key, trial in tried.running.items()
        for seen in [tried.accuracies.get(key, {})]
    ]
    finished = _shown(table(tried.trials, tried.outcomes).query("state != @UNFINISHED").head(LEADERS))
    return f"\n{head}\n{tabulate([*running, *finished], headers='keys')}"


def summary(trials: list[Trial], outcomes: dict[int, Outcome], identity: str, images: int) -> str:
    """Show all trials, the best first, and say what follows.

    Args:
        trials: of the sweep.
        outcomes: by number of the trial.
        identity: of the sweep.
        images: that the trials were validated on.
    """
    counts = ", ".join(f"{count} {state}" for state, count in _counts(outcomes).items() if count) or "none finished"
    lines = [f"Sweep {identity}: {counts}", tabulate(_shown(table(trials, outcomes)), headers="keys")]
    best = best_of(trials, outcomes)
    if best:
        top = outcomes[best.number].accuracy or 0
        margin = 2 * (2 * top * (1 - top) / images) ** 0.5  # two standard errors of a difference
        close = sum(outcome.complete and (outcome.accuracy or 0) >= top - margin for outcome in outcomes.values()) - 1
        lines += [
            f"Best: trial {best.number} with {top:.2%} of {images:,} held-out images. "
            f"No worse than the noise of so many images ({margin:.2%}): {close} of the others.",
        ]
        if "training.seed" not in best.values:  # noqa: PD011  # no row of params.yaml can say it
            lines.append(f"Make it a row of params.yaml: python -m pipelines.adopt sweep={identity} name=best")
    return "\n".join(lines)


def metrics(trials: list[Trial], outcomes: dict[int, Outcome]) -> dict[str, float]:
    """Count what a sweep did; `reused` are trials that another sweep ran."""
    best = best_of(trials, outcomes)
    counted = {
        "trials": len(outcomes),
        **_counts(outcomes),
        "reused": sum(outcome.origin == "elsewhere" for outcome in outcomes.values()),
        "trial_epochs": sum(max(outcome.accuracies, default=0) for outcome in outcomes.values()),
    }
    top = outcomes[best.number].accuracy if best else None
    return {**counted, **({} if top is None else {"best_val_accuracy": top})}


def _counts(outcomes: dict[int, Outcome]) -> dict[str, int]:
    values = outcomes.values()
    return {
        "complete": sum(outcome.complete for outcome in values),
        "pruned": sum(outcome.state == "pruned" for outcome in values),
        "failed": sum(outcome.failed for outcome in values),
    }


def _shown(frame: pd.DataFrame) -> list[dict[str, str]]:
    """Format the rows of `table` for people: what is empty stays empty."""
    rows = frame.drop(columns=["run", "reason", "node"]).rename(columns={"val_accuracy": "accuracy"})
    reasons = frame["reason"].where(frame["reason"] == "", ": " + frame["reason"])
    rows["accuracy"] = [f"{value:.2%}" if pd.notna(value) else "" for value in frame["val_accuracy"]]
    rows["state"] = frame["state"] + reasons
    records: list[dict[str, str]] = rows.to_dict("records")
    return records


def _duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    return (
        f"{hours:.1f} hours" if hours >= 2 else f"{minutes:.0f} minutes" if minutes >= 2 else f"{seconds:.0f} seconds"
    )


def figures(trials: Iterable[Trial], outcomes: dict[int, Outcome]) -> dict[str, Figure]:
    """Draw the complete trials: each as a line through its values, and what their accuracy depends on.

    Args:
        trials: of the sweep.
        outcomes: by number of the trial.

    Returns:
        parallel_coordinates; importance, if the trials differ in accuracy: functional ANOVA
        (https://proceedings.mlr.press/v32/hutter14.html). Empty without two complete trials and an open key.
    """
    complete = [trial for trial in trials if trial.number in outcomes and outcomes[trial.number].complete]
    frame = pd.DataFrame([short(trial.values) for trial in complete])
    if len(complete) < 2 or not frame.columns.size:
        return {}
    columns = {name: _column(values) for name, values in frame.items()}
    distributions = {name: distribution for name, (distribution, _) in columns.items()}
    study = optuna.create_study(direction="maximize")
    for index, trial in enumerate(complete):
        params = {name: values[index] for name, (_, values) in columns.items()}
        accuracy = outcomes[trial.number].accuracy
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=accuracy))

    drawings: dict[str, Any] = {"parallel_coordinates": optuna.visualization.matplotlib.plot_parallel_coordinate}
    if len({trial.value for trial in study.trials}) > 1:
        drawings["importance"] = partial(
            optuna.visualization.matplotlib.plot_param_importances,
            evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0),
        )
    drawn = {}
    for name, draw in drawings.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Optuna on its experiments, of Matplotlib on values that are all equal
            figure = draw(study, target_name="validation accuracy").get_figure(root=True)
        for axes in figure.axes:
            for lines in axes.collections:
                lines.set_cmap("viridis")  # Optuna's own begins with white, which hides the worst trials
        figure.set_size_inches(10, 6)
        figure.tight_layout()
        drawn[name] = figure
    return drawn


def _column(values: pd.Series) -> tuple[BaseDistribution, list[str | float]]:
    try:
        numbers = values.astype(float)
    except ValueError:
        return CategoricalDistribution(sorted(set(values))), list(values)
    low, high = numbers.min(), numbers.max()
    return FloatDistribution(low, high, log=bool(low > 0 and high / low > 30)), list(numbers)


def _rounded(value: str) -> str:
    try:
        return value if value.lstrip("-").isdigit() else f"{float(value):.5g}"
    except ValueError:
        return value
