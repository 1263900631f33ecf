"""Statistical tests of which run, at which lag, each of the notebook's published logs fits."""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests

LOSSES = ["loss", "val_loss"]
LOG_RESOLUTION = 1e-4  # smallest distance between two curves of losses; the published losses have four digits


def match_logs(
    published: Mapping[str, pd.DataFrame],
    histories: Mapping[str, pd.DataFrame],
    replicates: Mapping[str, pd.DataFrame],
    max_epoch_lag: int,
    confidence: float,
) -> dict[str, list[dict[str, Any]]]:
    """Compare every published log with every run at every lag.

    Args:
        published: Columns `LOSSES` of each log, by its label, which is the name of the run with the labelled
            configuration; index epoch, from 1.
        histories: The same columns of each run.
        replicates: Replicates of the runs that have some, columns `seeds.COLUMNS`.
        max_epoch_lag: Greatest lag of a log, in epochs.
        confidence: Level of the prediction intervals, 0 to 1, exclusive.

    Returns:
        The matches of each log as JSON types, the closest losses first. A run with fewer epochs than the log has none.
        The keys of a match are:

        - run: Name of the run.
        - lag: Epochs by which the log starts late: its epoch k is compared with epoch k + lag of the run.
        - loss_ratio: Typical factor between the losses of log and run, at least 1; see `log_distance`.

        A run with at least two replicates has the results of `first_epoch_test` and `rank_p_value`, and `adjusted`
        from `correct_matches`.
    """
    matches: dict[str, list[dict[str, Any]]] = {log: [] for log in published}
    for log, curve in published.items():
        long_enough = [run for run, history in histories.items() if len(history) >= len(curve)]
        for run, lag in product(long_enough, range(min(max_epoch_lag + 1, len(curve)))):
            lagging = curve.set_index(curve.index + lag)
            match = {"run": run, "lag": lag, "loss_ratio": math.exp(log_distance(histories[run], lagging))}
            if run in replicates:
                match |= first_epoch_test(replicates[run], lagging, confidence)
                match["rank_p_value"] = rank_p_value(replicates[run], lagging)
            matches[log].append(match)
    correct_matches(matches)
    return {log: sorted(found, key=lambda match: match["loss_ratio"]) for log, found in matches.items()}


def first_epoch_test(replicates: pd.DataFrame, log: pd.DataFrame, confidence: float) -> dict[str, Any]:
    """Test whether the training loss in the first epoch of a log can be that of one more seed of a run.

    A single value needs no correction for the number of epochs. The logarithms of the losses are taken as normally
    distributed with unknown mean and variance, so Student's t distribution gives the prediction interval of one more
    seed, and the two-sided p-value of the log.

    Args:
        replicates: Replicates of the run, columns `seeds.COLUMNS`; at least two seeds.
        log: Column loss; index epoch of the run.
        confidence: Level of the interval, 0 to 1, exclusive.

    Returns:
        The number of seeds, the loss of the log, the ends low and high of the prediction interval, and p_value.
    """
    epoch = log.index.min()
    losses = np.log(replicates.loc[replicates["epoch"] == epoch, "loss"])
    seeds, error = len(losses), losses.std() * (1 + 1 / len(losses)) ** 0.5
    another = stats.t(seeds - 1, losses.mean(), max(error, LOG_RESOLUTION))
    loss = float(log["loss"].loc[epoch])
    low, high = np.exp(another.interval(confidence))
    p_value = 2 * min(another.cdf(np.log(loss)), another.sf(np.log(loss)))
    return {"seeds": seeds, "loss": loss, "low": float(low), "high": float(high), "p_value": float(p_value)}


def rank_p_value(replicates: pd.DataFrame, log: pd.DataFrame) -> float:
    """Return the p-value of a log among the seeds of a run by whole curves, without a distribution.

    The distance of each curve, the log's included, is that from the mean of all other curves (`log_distance`). The
    p-value is the share of curves that are at least as far away as the log (Vovk, Gammerman and Shafer 2005: conformal
    prediction). With n seeds it is at least 1 / (n + 1).

    Args:
        replicates: Replicates of the run, columns `seeds.COLUMNS`; at least two seeds.
        log: Columns `LOSSES`; index epoch of the run. Only common epochs count.
    """
    curves = [*(history.set_index("epoch") for _, history in replicates.groupby("seed")), log]
    epochs = curves[0].index.intersection(log.index)
    log_losses = np.log(np.stack([curve.loc[epochs, LOSSES].to_numpy() for curve in curves]))
    means_of_others = (log_losses.sum(axis=0) - log_losses) / (len(curves) - 1)
    distances = np.sqrt(np.mean((log_losses - means_of_others) ** 2, axis=(1, 2)))
    return float(np.mean(distances >= distances[-1] - LOG_RESOLUTION))


def correct_matches(matches: Mapping[str, Sequence[dict[str, Any]]]) -> None:
    """Add the p-value `adjusted` to the matches that have a p-value, corrected over all logs, runs and lags.

    The labels are the hypotheses that come with the logs: each log belongs to the run of its name, without a lag. They
    are tested first, with Holm's method. All other matches are tested only if every label is rejected, again with
    Holm's method (serial gatekeeping: Westfall and Krishen 2001). The probability of a false rejection among all
    hypotheses is at most the significance level.
    """
    tested = [(log, match) for log, found in matches.items() for match in found if "p_value" in match]
    labels = [match for log, match in tested if is_label(log, match)]
    others = [match for log, match in tested if not is_label(log, match)]
    gate = 0.0
    for family in filter(None, (labels, others)):
        adjusted = multipletests([match["p_value"] for match in family], method="holm")[1]
        for match, p_value in zip(family, adjusted, strict=True):
            match["adjusted"] = max(gate, float(p_value))
        gate = max(match["adjusted"] for match in family)


def is_label(log: str, match: Mapping[str, Any]) -> bool:
    """Return whether a match is the one that the label of a log claims: the run of its name, without a lag."""
    return bool(match["run"] == log and match["lag"] == 0)


def find_label(log: str, matches: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the match that the label of a log claims, or {} if it was not made."""
    return next((match for match in matches if is_label(log, match)), {})


def judge_label(
    log: str, matches: Sequence[dict[str, Any]], significance: float
) -> Literal["rejected", "not rejected", "untested"]:
    """Return the conclusion about the label of a log.

    Args:
        log: Label of the log in the notebook.
        matches: Matches of the log from `match_logs`.
        significance: Significance level, 0 to 1, exclusive.
    """
    label = find_label(log, matches)
    if "adjusted" not in label:
        return "untested"
    return "rejected" if label["adjusted"] < significance else "not rejected"


def log_distance(first: pd.DataFrame, second: pd.DataFrame) -> float:
    """Return the root mean square of the differences between the logarithms of two runs' losses.

    Args:
        first: Columns `LOSSES`; index epoch.
        second: Columns `LOSSES`; index epoch. Only epochs of both runs count.

    Returns:
        Distance of at least 0; 0.1 is a factor of about 1.1 between the losses.
    """
    difference = (np.log(first[LOSSES]) - np.log(second[LOSSES])).dropna()
    return float(np.sqrt(np.mean(difference.to_numpy() ** 2)))
