"""Replicates: trainings of the same run with several seeds, and the spread of their results."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from scipy import stats
from tabulate import tabulate

from image_classifier.files import METRICS, read_histories

COLUMNS = ["run", "recipe", "seed", "epoch", *METRICS]


def read_replicates(path: Path) -> pd.DataFrame:
    """Read a file of replicates: columns `COLUMNS`, one row for each run, seed and epoch.

    Raises:
        FileNotFoundError, InputError: See `read_histories`.
    """
    return read_histories(path, run=str, recipe=str, seed=int)


def merge_replicates(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Merge tables of replicates, and drop the replicates of a run that have another recipe than its newest ones.

    Args:
        parts: Tables with the columns `COLUMNS`, the newest last. A later row replaces an earlier one of the same run,
            recipe, seed and epoch.
    """
    parts = [part for part in parts if len(part)]  # an empty table has no types
    if not parts:
        return pd.DataFrame(columns=COLUMNS)
    merged = pd.concat(parts).drop_duplicates(["run", "recipe", "seed", "epoch"], keep="last")
    newest = merged["run"].map(merged.groupby("run")["recipe"].last())
    return merged[merged["recipe"] == newest].sort_values(["run", "seed", "epoch"]).reset_index(drop=True)[COLUMNS]


def select_replicates(histories: pd.DataFrame, recipes: Mapping[str, str | None]) -> dict[str, pd.DataFrame]:
    """Select the replicates of each run that has at least two seeds with all epochs.

    Args:
        histories: Replicates of any runs, columns `COLUMNS`.
        recipes: Recipe fingerprint of each run. Replicates belong to every run with the same recipe; a run without a
            recipe has none.
    """
    histories = histories.drop_duplicates(["recipe", "seed", "epoch"])  # rows of params.yaml can share a recipe
    epochs = histories.groupby(["recipe", "seed"])["epoch"].transform("count")
    complete = histories[epochs == epochs.groupby(histories["recipe"]).transform("max")]
    selected = {run: complete[complete["recipe"] == recipe] for run, recipe in recipes.items()}
    return {run: replicates for run, replicates in selected.items() if len(replicates["seed"].unique()) > 1}


def final_accuracies(histories: pd.DataFrame) -> pd.Series:
    """Return the validation accuracy of each seed after its last epoch; index seed.

    Args:
        histories: Replicates of one run, columns `COLUMNS`.
    """
    return histories.sort_values("epoch").groupby("seed")["val_accuracy"].last()


def summary_table(accuracies: Mapping[str, pd.Series], confidence: float) -> str:
    """Return a Markdown table of the accuracies over the seeds, one row for each run.

    The interval of the mean uses Student's t distribution, and the standard deviation divides by n - 1.

    Args:
        accuracies: Final accuracies of each run, 0 to 1; index seed, at least two.
        confidence: Level of the interval, 0 to 1, exclusive.
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
            }
        )
    return markdown_table(rows)


def markdown_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Return a Markdown table with left-aligned columns.

    Args:
        rows: Cells by column title; None is an empty cell.
    """
    return str(tabulate(rows, headers="keys", tablefmt="pipe", disable_numparse=True))


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
