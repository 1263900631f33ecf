"""Tests which run and which lag fit the notebook's published logs."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import pandas as pd
from scipy import stats

from image_classifier.compare.seeds import log_distance, replicate_p_value

LOG_EXAMPLES = 10_000  # the notebook validates on the whole test set


def match_log(
    published: pd.DataFrame,
    histories: Mapping[str, pd.DataFrame],
    replicates: Mapping[str, pd.DataFrame],
    examples: int,
    max_epoch_lag: int,
    significance: float,
) -> list[dict[str, Any]]:
    """Compare a published log with every run at every lag.

    Fisher's exact test compares the validation accuracies of each epoch, with Bonferroni's correction for the number of
    epochs. It treats the images of log and run as different ones, although they are the same, so it errs towards
    finding no difference. It does not cover the differences between seeds; `seeds.replicate_p_value` does.

    Args:
        published: Columns loss, val_loss and val_accuracy of the log; index epoch, from 1.
        histories: The same columns of each run.
        replicates: Replicates of the runs that have some, columns `seeds.COLUMNS`.
        examples: Number of validation images of the runs.
        max_epoch_lag: Greatest lag of the log, in epochs.
        significance: Significance level of each match, 0 to 1, exclusive.

    Returns:
        One match for each run and lag as JSON types, the closest losses first. A run with fewer epochs than the log has
        none. The keys of a match are:

        - run: Name of the run.
        - lag: Epochs by which the log starts late: its epoch k is compared with epoch k + lag of the run.
        - epochs: Number of epochs compared.
        - loss_ratio: Typical factor between the losses, training and validation, at least 1; see `seeds.log_distance`.
        - differing_epochs: Number of epochs with significantly different validation accuracies.
        - p_value: Result of `seeds.replicate_p_value`; None if the run has fewer than three replicates.
        - differs: Whether `p_value` is significant or, without a p-value, any epoch differs.
    """
    matches = []
    for run, history in histories.items():
        if len(history) < len(published):
            continue
        for lag in range(min(max_epoch_lag + 1, len(published))):
            lagging = published.set_index(published.index + lag)
            accuracies = pd.concat([history["val_accuracy"], lagging["val_accuracy"]], axis=1, join="inner")
            p_values = [
                float(stats.fisher_exact([_counts(run_accuracy, examples), _counts(log_accuracy, LOG_EXAMPLES)]).pvalue)
                for run_accuracy, log_accuracy in accuracies.to_numpy()
            ]
            differing = sum(p_value < significance / len(p_values) for p_value in p_values)
            p_value = replicate_p_value(replicates[run], lagging) if run in replicates else None
            match = {
                "run": run,
                "lag": lag,
                "epochs": len(p_values),
                "loss_ratio": math.exp(log_distance(history, lagging)),
                "differing_epochs": differing,
                "p_value": p_value,
                "differs": differing > 0 if p_value is None else p_value < significance,
            }
            matches.append(match)
    return sorted(matches, key=lambda match: match["loss_ratio"])


def judge_label(log: str, matches: list[dict[str, Any]]) -> Literal["consistent", "refuted", "open"]:
    """Return the conclusion about the label of a log.

    "consistent": The labelled run without a lag is the closest and does not differ from the log. "refuted": Another
    match is the closest and does not differ, and the labelled run does. "open": Any other case.

    Args:
        log: Label of the log in the notebook, which is the name of the run with the labelled configuration.
        matches: Matches of the log from `match_log`.
    """
    labelled = next((match for match in matches if (match["run"], match["lag"]) == (log, 0)), None)
    if labelled is None or matches[0]["differs"]:
        return "open"
    if labelled == matches[0]:
        return "consistent"
    return "refuted" if labelled["differs"] else "open"


def _counts(accuracy: float, examples: int) -> tuple[int, int]:
    """Return the numbers of correctly and of wrongly classified images."""
    correct = round(accuracy * examples)
    return correct, examples - correct
