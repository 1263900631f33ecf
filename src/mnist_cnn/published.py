"""The notebook's published logs, and the runs that explain them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from mnist_cnn.replicates import distance, p_value_of_one_more

PUBLISHED_EXAMPLES = 10_000  # the notebook validates on the whole test set


@dataclass(frozen=True)
class Match:
    """How well a run explains a published log, if the log's epoch k is the run's epoch k + shift.

    Attributes:
        epochs: how many epochs both have.
        loss_ratio: the typical factor between the two losses, training and validation, 1 or more; 1 is equal.
        differing_epochs: epochs in which the two validation accuracies differ significantly.
        p_value: of the log being one more seed of the run, see `replicates.p_value_of_one_more`. None if the run has
            fewer than three.
        differs: the log is not the run: by the seeds if there are some, else in any epoch.
    """

    run: str
    shift: int
    epochs: int
    loss_ratio: float
    differing_epochs: int
    p_value: float | None
    differs: bool


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

        Refuted: another match is the closest and does not differ, the label's does. Consistent: the label's match is
        the closest and does not differ. Open: neither.
        """
        labelled = self.labelled
        if labelled is None or (closest := self.matches[0]).differs:
            return "open"
        if closest == labelled:
            return "consistent"
        return "refuted" if labelled.differs else "open"


def explain_log(
    log: str,
    published: pd.DataFrame,
    histories: Mapping[str, pd.DataFrame],
    examples: int,
    largest_shift: int,
    significance: float,
    replicates: Mapping[str, pd.DataFrame] | None = None,
) -> Finding:
    """Find the run, and the shift in epochs, that explain a published log best.

    Runs are ordered by the distance of their losses from the log's. Beside it stands, as a test that does not need a
    scale, how many validation accuracies differ significantly: Fisher's exact test per epoch, with Bonferroni's
    correction for the number of epochs. It takes the two as measured on different images; they were the same, so it
    errs towards finding no difference. What two seeds differ by, only replicates know: of a run that has some it is
    tested whether the log can be one more seed.

    Args:
        log: its label.
        published: columns loss, val_loss and val_accuracy; index epoch, from 1.
        histories: the same of each run.
        examples: validation images behind each val_accuracy of the runs; behind the log's are 10,000.
        largest_shift: shifts from 0 to this are tried.
        significance: 0 to 1, of the tests of one match together.
        replicates: of runs that have some, as `replicates.merge` returns them.
    """
    matches = [
        _match(run, shift, published, history, examples, significance, (replicates or {}).get(run))
        for run, history in histories.items()
        if len(history) >= len(published)
        for shift in range(min(largest_shift, len(published) - 1) + 1)
    ]
    return Finding(log, sorted(matches, key=lambda match: match.loss_ratio))


def _match(
    run: str,
    shift: int,
    published: pd.DataFrame,
    history: pd.DataFrame,
    examples: int,
    significance: float,
    replicates: pd.DataFrame | None,
) -> Match:
    shifted = history.set_index(history.index - shift)
    epochs = published.index.intersection(shifted.index)
    ours, theirs = shifted.loc[epochs], published.loc[epochs]
    p_values = [
        stats.fisher_exact([_counts(our_accuracy, examples), _counts(their_accuracy, PUBLISHED_EXAMPLES)]).pvalue
        for our_accuracy, their_accuracy in zip(ours["val_accuracy"], theirs["val_accuracy"], strict=True)
    ]
    differing = int(np.sum(np.array(p_values) < significance / len(epochs)))
    log = published.set_index(published.index + shift)
    by_seeds = None if replicates is None else p_value_of_one_more(replicates, log)
    return Match(
        run=run,
        shift=shift,
        epochs=len(epochs),
        loss_ratio=math.exp(distance(ours, theirs)),
        differing_epochs=differing,
        p_value=by_seeds,
        differs=differing > 0 if by_seeds is None else by_seeds < significance,
    )


def _counts(accuracy: float, examples: int) -> tuple[int, int]:
    correct = round(accuracy * examples)
    return correct, examples - correct
