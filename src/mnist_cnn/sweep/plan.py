"""What a sweep is going to do."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from mnist_cnn.errors import InputError
from mnist_cnn.schema import Sweep, Train
from mnist_cnn.sweep.proposals import Listed, Parzen, Proposals, random_points
from mnist_cnn.sweep.space import Space
from mnist_cnn.sweep.trials import Trial, configure


@dataclass(frozen=True)
class Plan:
    """A sweep that has not begun.

    Attributes:
        identity: a digest of what decides its trials and their order, 10 hexadecimal digits. The number of trials does
            not: a sweep can be continued with more.
        proposals: begins the order of the points.
        known: the trials, if their points do not depend on each other's outcomes.
        count: of the trials.
        longest: epochs of the longest trial.
    """

    identity: str
    proposals: Callable[[], Proposals]
    known: list[Trial] | None
    count: int
    longest: int


def check(space: Space, settings: Sweep) -> list[Train]:
    """Check every value that a sweep can try, and that its settings fit each other.

    Returns:
        Configurations that together have all values.

    Raises:
        InputError: a value cannot be used.
    """
    checked = [configure(space, point, settings.cpus_per_trial)[0] for point in space.corners()]
    if not checked[0].validation.held_out:
        raise InputError("validation.held_out=0: a sweep chooses, so it needs held-out images.")
    match settings.search:
        case "grid" if settings.trials is not None:
            raise InputError(f"sweep.trials={settings.trials}: a grid has as many as there are combinations.")
        case "grid":
            space.grid()
        case search if settings.trials is None:
            raise InputError(f"sweep.trials=null: give the number of trials, which sweep.search={search} cannot know.")
        case search if not space.dimensions:
            raise InputError(f"sweep.search={search} has nothing to choose: give a key values, as in batch_size=32,64.")
    return checked


def make(
    space: Space,
    settings: Sweep,
    checked: list[Train],
    files: dict[str, str],
    compose: Callable[[int, dict[str, str]], Trial],
) -> Plan:
    """Plan a sweep that has passed `check`.

    Args:
        space: that it searches.
        settings: how.
        checked: what `check` returned.
        files: from `results.training_files`.
        compose: makes a trial of a number and a point.

    Raises:
        InputError: Keras refuses a value.
    """
    deciding = {
        "space": space.text(),
        "configurations": [config.decisive() for config in checked],
        "files": files,
        "search": [settings.search, settings.seed, settings.batch],
        "stopping": [settings.stopping, settings.grace_epochs, settings.reduction_factor],
    }
    identity = _identity(deciding)
    longest = max(config.epochs for config in checked)
    trials = settings.trials or 0
    if settings.search == "tpe":
        for point in space.corners():
            compose(0, point)
        return Plan(identity, partial(Parzen, space, settings.seed, trials, settings.batch), None, trials, longest)
    points = space.grid() if settings.search == "grid" else random_points(space, settings.seed, trials)
    known = [compose(number, point) for number, point in enumerate(points)]
    return Plan(identity, partial(Listed, points), known, len(known), longest)


def listed(points: list[dict[str, str]], compose: Callable[[int, dict[str, str]], Trial], names: list[str]) -> Plan:
    """Plan the trials at the given points.

    Args:
        points: in their order.
        compose: makes a trial of a number and a point.
        names: they and as many points decide what sweep it is; more points continue it.

    Raises:
        InputError: a point cannot be composed.
    """
    known = [compose(number, point) for number, point in enumerate(points)]
    identity = _identity([*names, *(trial.input.identity for trial in known[: len(names)])])
    longest = max(trial.config.epochs for trial in known)
    return Plan(identity, partial(Listed, points), known, len(known), longest)


def _identity(deciding: object) -> str:
    return hashlib.sha256(json.dumps(deciding).encode()).hexdigest()[:10]
