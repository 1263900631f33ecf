"""Samplers: the choice of the points of a search space, in batches of trials."""

from collections.abc import Callable, Sequence
from typing import Protocol

import optuna
from optuna.trial import TrialState

from image_classifier.config.schema import Sweep
from image_classifier.sweep.space import Point, Space
from image_classifier.sweep.trials import Outcome, Trial

optuna.logging.set_verbosity(optuna.logging.WARNING)  # otherwise Optuna prints a line for each trial

Compose = Callable[[int, Point], Trial]  # composes the trial with a number at a point

# Optuna treats a pruned trial without values as the worst possible one, which is right for a diverging training.
OPTUNA_STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.PRUNED,
    "crashed": TrialState.FAIL,
}


class PointSampler(Protocol):
    """Chooses the points of a sweep."""

    def next_batch(self) -> list[Trial]:
        """Return the next trials, or an empty list at the end."""

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Receive the outcomes of the last batch, in its order."""


class FixedSampler:
    """Returns a fixed list of trials as one batch."""

    def __init__(self, trials: list[Trial]) -> None:
        """Take the trials in their order."""
        self._trials = trials

    def next_batch(self) -> list[Trial]:
        """Return all trials, and then none."""
        batch, self._trials = self._trials, []
        return batch

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Ignore the outcomes."""


class TPESampler:
    """Optuna's tree-structured Parzen estimator (https://doi.org/10.5555/2986459.2986743).

    A batch depends on the seed and on the outcomes of all earlier batches, but not on the order in which trials end. A
    repeated sweep therefore proposes the same points.
    """

    def __init__(self, space: Space, settings: Sweep, compose: Compose) -> None:
        """Start a study.

        Args:
            space: Space with at least one dimension.
            settings: Settings of the sweep: seed, trials and proposal_batch.
            compose: Composes the trial with a number at a point.
        """
        self._space, self._settings, self._compose = space, settings, compose
        self._study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=settings.seed))
        self._batch: list[optuna.Trial] = []

    def next_batch(self) -> list[Trial]:
        """Ask Optuna for the next points."""
        remaining = (self._settings.trials or 0) - len(self._study.trials)
        asked = [_ask(self._study, self._space) for _ in range(min(self._settings.proposal_batch, remaining))]
        self._batch = [trial for trial, _ in asked]
        return [self._compose(trial.number, point) for trial, point in asked]

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Tell Optuna the outcomes."""
        for trial, outcome in zip(self._batch, outcomes, strict=True):
            for epoch, accuracy in () if outcome.failed else outcome.accuracies.items():
                trial.report(accuracy, epoch)
            value = outcome.accuracy if outcome.complete else None
            self._study.tell(trial, value, OPTUNA_STATES[outcome.state])


def random_points(space: Space, seed: int, trials: int) -> list[Point]:
    """Draw points at random, without duplicates. The same seed draws the same points."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    points = [_ask(study, space)[1] for _ in range(trials)]
    return [point for index, point in enumerate(points) if point not in points[:index]]


def _ask(study: optuna.Study, space: Space) -> tuple[optuna.Trial, Point]:
    trial = study.ask({key: dimension.distribution for key, dimension in space.dimensions.items()})
    return trial, {key: dimension.format_value(trial.params[key]) for key, dimension in space.dimensions.items()}
