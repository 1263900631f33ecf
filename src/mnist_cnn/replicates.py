"""Replicates: the same training with several seeds, and how much their results differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from mnist_cnn.errors import InputError

LOSSES = ["loss", "val_loss"]
RESOLUTION = 1e-4  # of a distance: published losses have four digits
COLUMNS = ["run", "recipe", "seed", "epoch", "loss", "accuracy", "val_loss", "val_accuracy"]


@dataclass(frozen=True)
class Spread:
    """A quantity over seeds.

    Attributes:
        seeds: how many.
        mean: over them.
        deviation: the standard deviation, of a sample (n - 1).
        low: end of the interval of the mean, by Student's t distribution.
        high: its other end.
    """

    seeds: int
    mean: float
    deviation: float
    low: float
    high: float


def spread(values: np.ndarray, confidence: float) -> Spread:
    """Summarize a quantity.

    Args:
        values: (n,), one for each seed, n of 2 or more.
        confidence: of the interval, 0 to 1, exclusive.
    """
    mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
    half = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * deviation / len(values) ** 0.5
    return Spread(len(values), mean, deviation, mean - half, mean + half)


def read(path: Path) -> pd.DataFrame:
    """Read what `merge` gave and somebody wrote: `COLUMNS`, a row for each run, seed and epoch.

    Raises:
        InputError: it is another file.
    """
    restore = f"Restore it: git checkout reports/{path.name}"
    try:
        frame = pd.read_csv(path)
    except (FileNotFoundError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({' '.join(str(error).split())}). {restore}") from None
    if list(frame.columns) != COLUMNS:
        raise InputError(f"{path}: should have the columns {', '.join(COLUMNS)}. {restore}")
    return frame


def merge(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put replicates together; of a run that was another one before, only the last ones stay.

    Args:
        parts: `COLUMNS` each, the newest last.
    """
    parts = [part for part in parts if len(part)]  # an empty one has no types
    if not parts:
        return pd.DataFrame(columns=COLUMNS)
    both = pd.concat(parts).drop_duplicates(["run", "recipe", "seed", "epoch"], keep="last")
    newest = both["run"].map(both.groupby("run")["recipe"].last())
    return both[both["recipe"] == newest].sort_values(["run", "seed", "epoch"]).reset_index(drop=True)[COLUMNS]


def of_runs(histories: pd.DataFrame, recipes: Mapping[str, str]) -> dict[str, pd.DataFrame]:
    """Return the replicates of each run that has two seeds or more.

    Args:
        histories: `COLUMNS`.
        recipes: of the runs; replicates of what they were before are left out, and seeds that lack epochs.
    """
    histories = histories.drop_duplicates(["recipe", "seed", "epoch"])  # rows of params.yaml can be the same recipe
    epochs = histories.groupby(["recipe", "seed"])["epoch"].transform("count")
    whole = histories[epochs == epochs.groupby(histories["recipe"]).transform("max")]
    current = {run: whole[whole["recipe"] == recipe] for run, recipe in recipes.items()}
    return {run: of_run for run, of_run in current.items() if len(of_run["seed"].unique()) > 1}


def last(histories: pd.DataFrame) -> pd.Series:
    """Return the validation accuracy after the last epoch; index seed.

    Args:
        histories: of one run, `COLUMNS`.
    """
    return histories.sort_values("epoch").groupby("seed")["val_accuracy"].last()


def summary(accuracies: Mapping[str, pd.Series], confidence: float) -> str:
    """Show what the accuracies of each run have in common (Markdown).

    Args:
        accuracies: for each run, index seed.
        confidence: of the intervals, 0 to 1, exclusive.
    """
    rows = [
        {
            "run": f"`{run}`",
            "seeds": found.seeds,
            "mean": f"{found.mean:.2%}",
            "standard deviation": f"{found.deviation:.2%}",
            f"{100 * confidence:g}% interval of the mean": f"{found.low:.2%} to {found.high:.2%}",
            "least": f"{values.min():.2%}",
            "most": f"{values.max():.2%}",
        }
        for run, values in accuracies.items()
        for found in [spread(values.to_numpy(), confidence)]
    ]
    return str(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))


def bands(histories: Mapping[str, pd.DataFrame], confidence: float) -> dict[str, dict[str, pd.DataFrame]]:
    """Return for each run the `band` of its loss and of its val_accuracy."""
    return {
        run: {quantity: band(of_run, quantity, confidence) for quantity in ("loss", "val_accuracy")}
        for run, of_run in histories.items()
    }


def band(histories: pd.DataFrame, quantity: str, confidence: float) -> pd.DataFrame:
    """Say where another seed is expected, epoch by epoch.

    The interval is that of one more normally distributed value: mean ± t · deviation · sqrt(1 + 1/n).

    Args:
        histories: of one run, `COLUMNS`.
        quantity: loss, accuracy, val_loss or val_accuracy.
        confidence: 0 to 1, exclusive.

    Returns:
        Columns mean, low and high; index epoch.
    """
    table = histories.pivot_table(index="epoch", columns="seed", values=quantity)
    seeds = table.shape[1]
    half = stats.t.ppf((1 + confidence) / 2, seeds - 1) * table.std(axis=1) * (1 + 1 / seeds) ** 0.5
    mean = table.mean(axis=1)
    return pd.DataFrame({"mean": mean, "low": mean - half, "high": mean + half})


def distance(curve: pd.DataFrame, other: pd.DataFrame) -> float:
    """Return the typical difference of the logarithms of two runs' losses: the root of the mean square.

    Args:
        curve: columns `LOSSES`; index epoch.
        other: the same; the epochs that both have count.

    Returns:
        0 or more; 0.1 is a factor of about 1.1.
    """
    difference = (np.log(curve[LOSSES]) - np.log(other[LOSSES])).dropna()
    return float(np.sqrt(np.mean(difference.to_numpy() ** 2)))


def p_value_of_one_more(histories: pd.DataFrame, other: pd.DataFrame) -> float | None:
    """Test whether a run can be one more seed: its distance from the mean of the seeds against their own distances.

    Each seed's own distance is that from the mean of the others. The logarithms of the distances are taken as normally
    distributed; only a larger distance is a surprise (Student's t, one-sided).

    Args:
        histories: of one run, `COLUMNS`.
        other: columns `LOSSES`; index epoch.

    Returns:
        None for fewer than three seeds, whose own distances have no spread.
    """
    curves = {seed: of_seed.set_index("epoch")[LOSSES] for seed, of_seed in histories.groupby("seed")}
    seeds = len(curves)
    if seeds < 3:
        return None
    common = {seed: curve.loc[curve.index.intersection(other.index)] for seed, curve in curves.items()}

    def from_mean(run: pd.DataFrame, of: list[pd.DataFrame]) -> float:
        mean = np.exp(sum(np.log(curve) for curve in of) / len(of))
        less_exact = float(1 + 1 / len(of)) ** 0.5  # is a mean of fewer
        return float(max(distance(run, mean), RESOLUTION) / less_exact)

    own = np.log(
        [from_mean(curve, [other for key, other in common.items() if key != seed]) for seed, curve in common.items()]
    )
    excess = np.log(from_mean(other, list(common.values()))) - own.mean()
    statistic = excess / (own.std(ddof=1) * (1 + 1 / seeds) ** 0.5)
    return float(stats.t.sf(statistic, seeds - 1))
