"""Comparison of runs with each other and with the notebook's published logs."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

PUBLISHED_EXAMPLES = 10_000  # the notebook validates on the whole test set


@dataclass(frozen=True)
class Accuracy:
    """An accuracy on n images with its interval, all 0 to 1."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedTest:
    """Two runs on the same images.

    Attributes:
        difference: accuracy of `first` less accuracy of `second`, -1 to 1.
        only_first: images that only `first` gets right.
        only_second: images that only `second` gets right.
        p_value: of the exact McNemar test: the probability of so uneven a split if both were equally good.
    """

    first: str
    second: str
    difference: float
    only_first: int
    only_second: int
    p_value: float


@dataclass(frozen=True)
class Match:
    """How well a run explains a published log, if the log's epoch k is the run's epoch k + shift.

    Attributes:
        epochs: how many epochs both have.
        loss_ratio: the typical factor between the two losses, training and validation, 1 or more; 1 is equal.
        differing_epochs: epochs in which the two validation accuracies differ significantly.
    """

    run: str
    shift: int
    epochs: int
    loss_ratio: float
    differing_epochs: int


@dataclass(frozen=True)
class Finding:
    """What a published log is, by the runs at hand.

    Attributes:
        log: its label in the notebook, which is also the name of the run with that configuration.
        matches: closest losses first; only runs with at least as many epochs as the log.
    """

    log: str
    matches: list[Match]

    @property
    def labelled(self) -> Match | None:
        """The match that the label claims: the run of that name, not shifted. None if there is no such run."""
        return next((match for match in self.matches if (match.run, match.shift) == (self.log, 0)), None)

    @property
    def verdict(self) -> Literal["consistent", "refuted", "open"]:
        """What the runs say of the label.

        Refuted: another match is the closest and differs in no epoch, the label's differs. Consistent: the label's
        match is the closest and differs in no epoch. Open: neither.
        """
        labelled = self.labelled
        if labelled is None or (closest := self.matches[0]).differing_epochs:
            return "open"
        if closest == labelled:
            return "consistent"
        return "refuted" if labelled.differing_epochs else "open"


def accuracy(correct: np.ndarray, confidence: float) -> Accuracy:
    """Return the share of correct images with Wilson's score interval (Wilson 1927).

    Args:
        correct: bool, (n,).
        confidence: 0 to 1, exclusive.
    """
    result = stats.binomtest(int(correct.sum()), len(correct))
    interval = result.proportion_ci(confidence, method="wilson")
    return Accuracy(float(result.statistic), float(interval.low), float(interval.high))


def paired_tests(correct: Mapping[str, np.ndarray]) -> list[PairedTest]:
    """Compare every two runs with the exact McNemar test (McNemar 1947; the exact form is a sign test).

    Args:
        correct: for each run bool, (n,), whether it classifies image i of the same n images correctly.
    """
    tests = []
    for first, second in combinations(correct, 2):
        only_first = int((correct[first] & ~correct[second]).sum())
        only_second = int((correct[second] & ~correct[first]).sum())
        differing = only_first + only_second
        p_value = float(stats.binomtest(only_first, differing).pvalue) if differing else 1.0
        difference = float(correct[first].mean() - correct[second].mean())
        tests.append(PairedTest(first, second, difference, only_first, only_second, p_value))
    return tests


def explain_log(
    log: str,
    published: pd.DataFrame,
    histories: Mapping[str, pd.DataFrame],
    examples: int,
    largest_shift: int,
    significance: float,
) -> Finding:
    """Find the run, and the shift in epochs, that explain a published log best.

    Runs are ordered by the distance of their losses from the log's. Beside it stands, as a test that does not need a
    scale, how many validation accuracies differ significantly: Fisher's exact test per epoch, with Bonferroni's
    correction for the number of epochs. It takes the two as measured on different images; they were the same, so it
    errs towards finding no difference. What two seeds differ by, it does not know.

    Args:
        log: its label.
        published: columns loss, val_loss and val_accuracy; index epoch, from 1.
        histories: the same of each run.
        examples: validation images behind each val_accuracy of the runs; behind the log's are 10,000.
        largest_shift: shifts from 0 to this are tried.
        significance: 0 to 1, of the tests of one match together.
    """
    matches = [
        _match(run, shift, published, history, examples, significance)
        for run, history in histories.items()
        if len(history) >= len(published)
        for shift in range(min(largest_shift, len(published) - 1) + 1)
    ]
    return Finding(log, sorted(matches, key=lambda match: match.loss_ratio))


def _match(
    run: str, shift: int, published: pd.DataFrame, history: pd.DataFrame, examples: int, significance: float
) -> Match:
    shifted = history.set_index(history.index - shift)
    epochs = published.index.intersection(shifted.index)
    ours, theirs = shifted.loc[epochs], published.loc[epochs]
    log_ratios = np.log(ours[["loss", "val_loss"]] / theirs[["loss", "val_loss"]]).to_numpy()
    p_values = [
        stats.fisher_exact([_counts(our_accuracy, examples), _counts(their_accuracy, PUBLISHED_EXAMPLES)]).pvalue
        for our_accuracy, their_accuracy in zip(ours["val_accuracy"], theirs["val_accuracy"], strict=True)
    ]
    return Match(
        run=run,
        shift=shift,
        epochs=len(epochs),
        loss_ratio=float(np.exp(np.sqrt(np.mean(log_ratios**2)))),
        differing_epochs=int(np.sum(np.array(p_values) < significance / len(epochs))),
    )


def _counts(accuracy: float, examples: int) -> tuple[int, int]:
    correct = round(accuracy * examples)
    return correct, examples - correct
