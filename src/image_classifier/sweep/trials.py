"""The trials of a sweep."""

import shlex
from dataclasses import dataclass

from image_classifier import environment
from image_classifier.config.compose import compose, resolve
from image_classifier.config.schema import Train
from image_classifier.files import digest
from image_classifier.provenance.fingerprint import TrainingInput
from image_classifier.sweep.space import Point, Space
from image_classifier.track.outcome import Outcome

COMMAND = ("python", "-m", "pipelines.train")


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
    text = dump_config(complete_config(config.model_dump(), build_optimizer(config.optimizer)))
    command = shlex.join([*COMMAND, *space.overrides(point), f"run={config.run}"])
    return Trial(number, point, config, TrainingInput(config.run, command, text, files))
