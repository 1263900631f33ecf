"""The trials of a sweep, the choice of their points, and the plan of the sweep."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import optuna
from optuna.trial import TrialState

from image_classifier import environment
from image_classifier.config.compose import compose, resolve
from image_classifier.config.schema import Sweep, Train
from image_classifier.errors import InputError
from image_classifier.files import digest
from image_classifier.provenance.fingerprint import TrainingInput
from image_classifier.sweep.space import Point, Space
from image_classifier.track.outcome import Outcome

optuna.logging.set_verbosity(optuna.logging.WARNING)  # otherwise Optuna prints a line for each trial

COMMAND = ("python", "-m", "pipelines.train")
SEARCH_KEYS = {"search", "seed", "proposal_batch"}  # settings that decide the points
SCHEDULER_KEYS = {"scheduler", "grace_period", "reduction_factor"}  # settings that decide when a trial is stopped

# Optuna treats a pruned trial without values as the worst possible one, which is right for a diverging training.
OPTUNA_STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.PRUNED,
    "crashed": TrialState.FAIL,
}


@dataclass(frozen=True)
class Trial:
    """One training of a sweep.

    Attributes:
        number: Position in the sweep, from 0.
        point: Values of the swept keys.
        config: Configuration of the training.
        input: Configuration, data and code, by which a trial of another sweep is recognized as the same.
    """

    number: int
    point: Point
    config: Train
    input: TrainingInput

    @property
    def name(self) -> str:
        """Name of the run: "trial_" and a digest of the configuration, the data and the code."""
        return self.config.run


Results = list[tuple[Trial, Outcome]]
# Yields trials in batches. The caller adds the outcomes of a batch to the mapping before it asks for the next one.
Batches = Callable[[Mapping[str, Outcome]], Iterator[list[Trial]]]


@dataclass(frozen=True)
class Plan:
    """A sweep that has not started.

    Attributes:
        fingerprint: Digest of everything that decides the trials and their order, 10 hexadecimal digits. It does not
            cover the number of trials, so that a sweep can be extended.
        files: Hashes of the data and code of the trials.
        batches: Choice of the trials, in batches.
        num_trials: Number of trials.
        max_epochs: Number of epochs of the longest trial.
    """

    fingerprint: str
    files: dict[str, str]
    batches: Batches
    num_trials: int
    max_epochs: int


def compose_config(space: Space, point: Point) -> Train:
    """Compose and check the configuration at a point of the space, for a run with the name "trial".

    Raises:
        InputError: Hydra cannot compose the configuration, or a value is invalid.
    """
    return resolve(Train, compose("train", [*space.overrides(point), "run=trial"]))


def compose_trial(space: Space, files: dict[str, str], number: int, point: Point) -> Trial:
    """Compose the trial at a point of the space. Its command line gives the same weights outside of the sweep.

    Args:
        space: Space of the sweep.
        files: Hashes of data and code, from `training_files`.
        number: Number of the trial.
        point: Point of the space.

    Raises:
        InputError: See `compose_config`; or Keras refuses the optimizer.
    """
    with environment.tensorflow_import():
        from image_classifier.train.optimizer import build_optimizer, complete_config, dump_config

    config = compose_config(space, point)
    config = config.model_copy(update={"run": f"trial_{digest([config.fingerprint_config(), files])[:12]}"})
    text = dump_config(complete_config(config.fingerprint_config(), build_optimizer(config.optimizer)))
    command = shlex.join([*COMMAND, *space.overrides(point), f"run={config.run}"])
    return Trial(number, point, config, TrainingInput(config.run, command, text, files))


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
    identity = [
        [(key, dimension.text) for key, dimension in space.dimensions.items()],
        [config.fingerprint_config() for config in configs],
        files,
        settings.model_dump(include=SEARCH_KEYS),
        settings.model_dump(include=SCHEDULER_KEYS),
    ]
    num_trials = settings.trials or 0
    if settings.search != "tpe":
        grid = settings.search == "grid"
        points = space.grid_points() if grid else random_points(space, settings.seed, num_trials)
        return plan_points(space, points, identity, files)
    for point in space.boundary_points():
        compose_trial(space, files, 0, point)
    batches = partial(tpe_batches, space, settings, files)
    return Plan(digest(identity)[:10], files, batches, num_trials, max(config.epochs for config in configs))


def plan_points(space: Space, points: list[Point], identity: Sequence[object], files: dict[str, str]) -> Plan:
    """Plan the trials at the given points.

    Args:
        space: Space of the sweep.
        points: Points in their order.
        identity: Values that decide the fingerprint.
        files: Hashes of data and code, from `training_files`.

    Raises:
        InputError: A point cannot be composed.
    """
    trials = [compose_trial(space, files, number, point) for number, point in enumerate(points)]
    max_epochs = max(trial.config.epochs for trial in trials)
    return Plan(digest(identity)[:10], files, lambda _: iter([trials]), len(trials), max_epochs)


def tpe_batches(
    space: Space, settings: Sweep, files: dict[str, str], outcomes: Mapping[str, Outcome]
) -> Iterator[list[Trial]]:
    """Choose points with Optuna's tree-structured Parzen estimator (https://doi.org/10.5555/2986459.2986743).

    A batch depends on the seed and on the outcomes of all earlier batches, but not on the order in which trials end. A
    repeated sweep therefore proposes the same points.

    Args:
        space: Space with at least one dimension.
        settings: Settings of the sweep: seed, trials and proposal_batch.
        files: Hashes of data and code, from `training_files`.
        outcomes: Outcomes of the earlier batches, by the names of their trials.
    """
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=settings.seed))
    while remaining := (settings.trials or 0) - len(study.trials):
        asked = [_ask(study, space) for _ in range(min(settings.proposal_batch, remaining))]
        batch = [compose_trial(space, files, trial.number, point) for trial, point in asked]
        yield batch
        for (trial, _), composed in zip(asked, batch, strict=True):
            outcome = outcomes[composed.name]
            for epoch, accuracy in ({} if outcome.failed else outcome.accuracies).items():
                trial.report(accuracy, epoch)
            value = outcome.accuracy if outcome.state == "complete" else None
            study.tell(trial, value, OPTUNA_STATES[outcome.state])


def random_points(space: Space, seed: int, trials: int) -> list[Point]:
    """Draw points at random, without duplicates. The same seed draws the same points."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    points = [_ask(study, space)[1] for _ in range(trials)]
    return [point for index, point in enumerate(points) if point not in points[:index]]


def _ask(study: optuna.Study, space: Space) -> tuple[optuna.Trial, Point]:
    trial = study.ask({key: dimension.distribution for key, dimension in space.dimensions.items()})
    return trial, {key: dimension.format_value(trial.params[key]) for key, dimension in space.dimensions.items()}
