"""Which point of the space is tried next."""

from typing import Protocol

import optuna
from optuna.trial import TrialState

from mnist_cnn.sweep.space import Space
from mnist_cnn.sweep.trials import Outcome

optuna.logging.set_verbosity(optuna.logging.WARNING)  # else a line for each trial, beside the table

# A point at which training fails is as bad as can be, which Optuna says with a pruned trial that has no values.
STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.PRUNED,
    "died": TrialState.FAIL,
}


class Proposals(Protocol):
    """An order of points."""

    @property
    def batch(self) -> int | None:
        """How many points are proposed at once, before any of their outcomes is told; none: all."""

    def propose(self) -> dict[str, str] | None:
        """Return the next point; nothing when there is no more."""

    def learn(self, number: int, outcome: Outcome) -> None:
        """Take note of what came of a point, counted from 0; called in the order of the points."""


class Listed:
    """Points that are known from the start."""

    batch = None

    def __init__(self, points: list[dict[str, str]]) -> None:
        """Take them in their order."""
        self._points = iter(points)

    def propose(self) -> dict[str, str] | None:
        """Return the next one."""
        return next(self._points, None)

    def learn(self, number: int, outcome: Outcome) -> None:
        """Nothing depends on it."""


class Parzen:
    """Optuna's tree-structured Parzen estimator (https://doi.org/10.5555/2986459.2986743).

    What is proposed depends on the seed and on the outcomes of all earlier batches, never on which trial ended first:
    the same sweep proposes the same points again.
    """

    def __init__(self, space: Space, seed: int, trials: int, batch: int) -> None:
        """Start a study.

        Args:
            space: with one dimension or more.
            seed: of the sampler.
            trials: how many points to propose.
            batch: how many at once.
        """
        self.batch = batch
        self._space, self._left = space, trials
        self._study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        self._asked: list[optuna.Trial] = []

    def propose(self) -> dict[str, str] | None:
        """Ask the sampler."""
        if not self._left:
            return None
        self._left -= 1
        trial, point = _ask(self._study, self._space)
        self._asked.append(trial)
        return point

    def learn(self, number: int, outcome: Outcome) -> None:
        """Tell the sampler."""
        trial = self._asked[number]
        for epoch, accuracy in () if outcome.failed else outcome.accuracies.items():
            trial.report(accuracy, epoch)
        self._study.tell(trial, outcome.accuracy if outcome.complete else None, STATES[outcome.state])


def random_points(space: Space, seed: int, trials: int) -> list[dict[str, str]]:
    """Draw points at random: the same ones for the same seed, each once."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    points = [_ask(study, space)[1] for _ in range(trials)]
    return [point for index, point in enumerate(points) if point not in points[:index]]


def _ask(study: optuna.Study, space: Space) -> tuple[optuna.Trial, dict[str, str]]:
    trial = study.ask({key: dimension.distribution for key, dimension in space.dimensions.items()})
    return trial, {key: dimension.value(trial.params[key]) for key, dimension in space.dimensions.items()}
