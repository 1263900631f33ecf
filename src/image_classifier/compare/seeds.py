"""Replicates: trainings of the same run with several seeds, and the spread of their results."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from scipy import stats

from image_classifier.files import METRICS, read_histories
from image_classifier.markdown import markdown_table

KEY = ["run", "recipe", "environment", "seed"]
COLUMNS = [*KEY, "epoch", *METRICS]
UNKNOWN = "unknown"  # environment of the seeds that were recorded without one


def read_replicates(path: Path) -> pd.DataFrame:
    """Read a file of replicates: columns `COLUMNS`, one row for each run, seed and epoch.

    Raises:
        FileNotFoundError, InputError: See `read_histories`.
    """
    return read_histories(path, run=str, recipe=str, environment=str, seed=int)


def merge_replicates(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Merge tables of replicates, and drop the replicates of a run that have another recipe than its newest ones.

    A seed of an unknown environment is dropped as well if a seed of a known environment has the same values.

    Args:
        parts: Tables with the columns `COLUMNS`, the newest last. A later row replaces an earlier one of the same run,
            recipe, environment, seed and epoch.
    """
    merged = pd.concat(parts).drop_duplicates([*KEY, "epoch"], keep="last")
    newest = merged.groupby("run")["recipe"].transform("last")
    merged = merged[merged["recipe"] == newest].sort_values([*KEY, "epoch"]).reset_index(drop=True)[COLUMNS]
    has_twin = merged.duplicated([name for name in COLUMNS if name != "environment"], keep=False)
    is_copy = has_twin.groupby([merged[name] for name in KEY]).transform("all")
    return merged[~(is_copy & (merged["environment"] == UNKNOWN))].reset_index(drop=True)


def select_replicates(histories: pd.DataFrame, recipes: Mapping[str, str | None]) -> dict[str, pd.DataFrame]:
    """Select the replicates of each run that has at least two seeds with all epochs in one environment.

    Seeds of different environments are never pooled. The environment in which the most runs have two seeds comes first;
    among equals, the one with the most seeds, then a known one, then the first in alphabetical order. Each run uses the
    first environment in this order in which it has two seeds.

    Args:
        histories: Replicates of any runs, columns `COLUMNS`.
        recipes: Recipe fingerprint of each run of the comparison. Replicates belong to every run with the same recipe;
            a run without a recipe has none.
    """
    groups = {run: _split_by_environment(histories, recipe) for run, recipe in recipes.items()}
    groups = {
        run: {name: group for name, group in tables.items() if len(group["seed"].unique()) > 1}
        for run, tables in groups.items()
    }

    def order(environment: str) -> tuple[int, int, bool, str]:
        sizes = [tables[environment]["seed"].nunique() for tables in groups.values() if environment in tables]
        return -len(sizes), -sum(sizes), environment == UNKNOWN, environment

    return {run: tables[min(tables, key=order)] for run, tables in groups.items() if tables}


def _split_by_environment(histories: pd.DataFrame, recipe: str | None) -> dict[str, pd.DataFrame]:
    """Return the seeds of a recipe that have all epochs, by environment."""
    same_recipe = histories[histories["recipe"] == recipe].drop_duplicates(["environment", "seed", "epoch"])
    epochs = same_recipe.groupby(["environment", "seed"])["epoch"].transform("count")
    return dict(iter(same_recipe[epochs == epochs.max()].groupby("environment")))


def describe_selection(
    histories: pd.DataFrame, recipes: Mapping[str, str | None], selected: Mapping[str, pd.DataFrame]
) -> dict[str, dict[str, Any]]:
    """Return the environment of the selected seeds of each run, and the number of seeds of each other environment.

    Args:
        histories: Replicates of any runs, columns `COLUMNS`.
        recipes: Recipe fingerprint of each run.
        selected: Result of `select_replicates`.

    Returns:
        The keys environment and left_out of each run that has seeds, as JSON types. `environment` is None if no seeds
        of the run are selected.
    """
    selection = {}
    for run, recipe in recipes.items():
        chosen = selected[run]["environment"].iloc[0] if run in selected else None
        sizes = {name: group["seed"].nunique() for name, group in _split_by_environment(histories, recipe).items()}
        if sizes:
            left_out = {name: int(size) for name, size in sizes.items() if name != chosen}
            selection[run] = {"environment": chosen, "left_out": left_out}
    return selection


def final_accuracies(histories: pd.DataFrame) -> pd.Series:
    """Return the validation accuracy of each seed after its last epoch; index seed.

    Args:
        histories: Replicates of one run, columns `COLUMNS`.
    """
    return histories.sort_values("epoch").groupby("seed")["val_accuracy"].last()


def format_summary(
    accuracies: Mapping[str, pd.Series],
    confidence: float,
    selection: Mapping[str, Mapping[str, Any]],
    environments: str,
) -> str:
    """Return a Markdown table of the accuracies over the seeds, one row for each run, and notes on their environments.

    The interval of the mean uses Student's t distribution, and the standard deviation divides by n - 1.

    Args:
        accuracies: Final accuracies of each run, 0 to 1; index seed, at least two.
        confidence: Level of the interval, 0 to 1, exclusive.
        selection: Result of `describe_selection` for these runs.
        environments: Descriptions of the selected environments, as a Markdown list.
    """
    rows = []
    for run, values in accuracies.items():
        low, high = stats.t.interval(confidence, len(values) - 1, values.mean(), values.sem())
        rows.append(
            {
                "run": f"`{run}`",
                "seeds": len(values),
                "mean": f"{values.mean():.2%}",
                "standard deviation": f"{values.std():.2%}",
                f"{100 * confidence:g}% interval of the mean": f"{low:.2%} to {high:.2%}",
                "lowest": f"{values.min():.2%}",
                "highest": f"{values.max():.2%}",
                "environment": f"`{selection[run]['environment']}`",
                "left out": sum(selection[run]["left_out"].values()),
            }
        )
    left_out = [
        f"{size} of `{run}` in `{name}`"
        for run, values in selection.items()
        for name, size in values["left_out"].items()
    ]
    notes = []
    if environments:
        notes.append(f"Environments of these seeds:\n\n{environments}")
    if left_out:
        notes.append(f"Seeds of different environments are not pooled. Left out: {', '.join(left_out)}.")
    return "\n\n".join([*([markdown_table(rows)] if rows else []), *notes])


def prediction_intervals(replicates: Mapping[str, pd.DataFrame], confidence: float) -> dict[str, pd.DataFrame]:
    """Return the interval in which another seed of each run is expected, for each epoch.

    It is the prediction interval of a normal distribution with unknown mean and variance:
    mean ± t · standard deviation · sqrt(1 + 1/n).

    Args:
        replicates: Replicates of each run, columns `COLUMNS`; at least two seeds.
        confidence: Level of the intervals, 0 to 1, exclusive.

    Returns:
        Columns mean, low and high, each with the columns loss and val_accuracy; index epoch.
    """
    intervals = {}
    for run, histories in replicates.items():
        seeds = histories["seed"].nunique()
        epochs = histories.groupby("epoch")[["loss", "val_accuracy"]]
        mean = epochs.mean()
        half_width = stats.t.ppf((1 + confidence) / 2, seeds - 1) * epochs.std() * (1 + 1 / seeds) ** 0.5
        intervals[run] = pd.concat({"mean": mean, "low": mean - half_width, "high": mean + half_width}, axis=1)
    return intervals
