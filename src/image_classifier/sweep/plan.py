"""The plan of a sweep: its sampler, its fingerprint and its size."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from image_classifier.config.schema import Sweep, Train
from image_classifier.errors import InputError
from image_classifier.files import digest
from image_classifier.sweep.samplers import FixedSampler, PointSampler, TPESampler, random_points
from image_classifier.sweep.space import Point, Space
from image_classifier.sweep.trials import Trial, compose_config, compose_trial


@dataclass(frozen=True)
class Plan:
    """A sweep that has not started.

    Attributes:
        fingerprint: Digest of everything that decides the trials and their order, 10 hexadecimal digits. It does not
            cover the number of trials, so that a sweep can be extended.
        files: Hashes of the data and code of the trials.
        sampler: Sampler at its start.
        num_trials: Number of trials.
        max_epochs: Number of epochs of the longest trial.
    """

    fingerprint: str
    files: dict[str, str]
    sampler: PointSampler
    num_trials: int
    max_epochs: int


def validate_space(space: Space, settings: Sweep) -> list[Train]:
    """Check every value that a sweep can try, and whether its settings are consistent.

    Returns:
        Configurations that together contain all boundary values of the space.

    Raises:
        InputError: A value is invalid.
    """
    if settings.search == "grid":
        if settings.trials is not None:
            raise InputError(f"sweep.trials={settings.trials}: a grid has one trial for each combination.")
        space.grid_points()
    elif settings.trials is None:
        raise InputError(f"sweep.trials=null: sweep.search={settings.search} needs the number of trials.")
    elif not space.dimensions:
        raise InputError(f"sweep.search={settings.search} has no values to choose from: batch_size=32,64, for example.")
    return [compose_config(space, point) for point in space.boundary_points()]


def check_batch_sizes(configs: Iterable[Train], num_images: int) -> None:
    """Refuse a batch size above the number of training images: its process would be killed for lack of memory.

    Raises:
        InputError: A batch size is too large.
    """
    for config in configs:
        if config.batch_size > num_images:
            limit = f"should be at most {num_images}, the number of training images"
            raise InputError(f"batch_size={config.batch_size}: {limit}.")


def build_plan(space: Space, settings: Sweep, configs: list[Train], files: dict[str, str]) -> Plan:
    """Plan the sweep of a space.

    Args:
        space: Space of the sweep.
        settings: Settings of the sweep.
        configs: Configurations from `validate_space`.
        files: Hashes of data and code, from `training_files`.

    Raises:
        InputError: Keras refuses a value.
    """
    fingerprint = _fingerprint(
        [(key, dimension.text) for key, dimension in space.dimensions.items()],
        [config.fingerprint_config() for config in configs],
        files,
        settings.model_dump(include={"search", "seed", "proposal_batch"}),
        settings.model_dump(include={"scheduler", "grace_period", "reduction_factor"}),
    )
    num_trials = settings.trials or 0
    if settings.search == "tpe":
        compose = partial(compose_trial, space, files)
        for point in space.boundary_points():
            compose(0, point)
        sampler = TPESampler(space, settings, compose)
        return Plan(fingerprint, files, sampler, num_trials, max(config.epochs for config in configs))
    grid = settings.search == "grid"
    points = space.grid_points() if grid else random_points(space, settings.seed, num_trials)
    return _plan_trials(fingerprint, files, [compose_trial(space, files, *item) for item in enumerate(points)])


def plan_points(space: Space, points: list[Point], files: dict[str, str], runs: list[str]) -> Plan:
    """Plan the trials at the given points.

    Args:
        space: Space of the sweep.
        points: Points in their order.
        files: Hashes of data and code, from `training_files`.
        runs: Names of the runs at the first points. Together with these points they decide the fingerprint; more points
            extend the same sweep.

    Raises:
        InputError: A point cannot be composed.
    """
    trials = [compose_trial(space, files, *item) for item in enumerate(points)]
    return _plan_trials(_fingerprint(runs, [trial.input.fingerprint for trial in trials[: len(runs)]]), files, trials)


def _plan_trials(fingerprint: str, files: dict[str, str], trials: list[Trial]) -> Plan:
    return Plan(fingerprint, files, FixedSampler(trials), len(trials), max(trial.config.epochs for trial in trials))


def _fingerprint(*values: object) -> str:
    return digest(values)[:10]
