"""What a sweep is going to do."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

from mnist_cnn.errors import InputError
from mnist_cnn.schema import Sweep
from mnist_cnn.sweep.proposals import Listed, Parzen, Proposals, random_points
from mnist_cnn.sweep.space import Space
from mnist_cnn.sweep.trials import Trial


@dataclass(frozen=True)
class Plan:
    """A sweep that has not begun.

    Attributes:
        identity: a digest of what decides its trials and their order, 10 hexadecimal digits. The number of trials does
            not: a sweep can be continued with more.
        proposals: the points.
        known: the trials, if their points do not depend on each other's outcomes.
        count: of the trials.
        longest: epochs of the longest trial.
        held_out: training images that validate.
    """

    identity: str
    proposals: Proposals
    known: list[Trial] | None
    count: int
    longest: int
    held_out: int


def make(space: Space, settings: Sweep, compose: Callable[[int, dict[str, str]], Trial]) -> Plan:
    """Plan a sweep, and check every value that it can try.

    Args:
        space: that it searches.
        settings: how.
        compose: makes a trial of a number and a point.

    Raises:
        InputError: the settings do not fit each other or the space, or a value cannot be used.
    """
    corners = [compose(0, point) for point in space.corners()]
    deciding = {
        "space": space.text(),
        "corners": [corner.input.identity for corner in corners],
        "search": [settings.search, settings.seed, settings.batch if settings.search == "tpe" else None],
        "stopping": [settings.stopping, settings.grace_epochs, settings.reduction_factor],
    }
    identity = hashlib.sha256(json.dumps(deciding).encode()).hexdigest()[:10]
    longest = max(corner.config.epochs for corner in corners)
    held_out = corners[0].config.validation.held_out

    if settings.search == "tpe":
        if not space.dimensions:
            raise InputError(
                "sweep=tpe has nothing to choose. Give a key several values: key=a,b or key='interval(1, 2)'."
            )
        count = _trials(settings)
        return Plan(identity, Parzen(space, settings.seed, count, settings.batch), None, count, longest, held_out)
    if settings.search == "grid":
        if settings.trials is not None:
            raise InputError(f"sweep.trials={settings.trials}: a grid has as many as there are combinations.")
        points = space.grid()
    else:
        points = random_points(space, settings.seed, _trials(settings))
    known = [compose(number, point) for number, point in enumerate(points)]
    return Plan(identity, Listed(points), known, len(known), longest, held_out)


def _trials(settings: Sweep) -> int:
    if settings.trials is None:
        raise InputError(f"sweep.trials=null: give the number of trials that sweep.search={settings.search} may take.")
    return settings.trials
