"""The trials of a sweep, and what came of them."""

import hashlib
import json
import shlex
from dataclasses import dataclass, field
from typing import Literal

from mnist_cnn import configuration, paths, results
from mnist_cnn.results import TrainingInput
from mnist_cnn.schema import Train
from mnist_cnn.sweep.space import Space

State = Literal["complete", "pruned", "failed", "died"]
COMMAND = ("python", "-m", "pipelines.train")


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Attributes:
        state: complete; pruned, as others were better; failed, as the training itself would again; died of something
            else, and is worth another try.
        accuracies: validation accuracy after each epoch from 1, 0 to 1.
        reason: why it is not complete.
        origin: it was run now, in an earlier attempt of this sweep, or elsewhere.
        node: Ray's name of the machine that ran it now.
    """

    state: State
    accuracies: dict[int, float] = field(default_factory=dict)
    reason: str = ""
    origin: Literal["now", "before", "elsewhere"] = "now"
    node: str = ""

    @property
    def complete(self) -> bool:
        """Whether it trained to its end."""
        return self.state == "complete"

    @property
    def failed(self) -> bool:
        """Whether it came to no result."""
        return self.state in ("failed", "died")

    @property
    def accuracy(self) -> float | None:
        """After the last epoch that there is: what the model that was kept at the end had."""
        return self.accuracies[max(self.accuracies)] if self.accuracies else None


@dataclass(frozen=True)
class Trial:
    """A training that a sweep tries.

    Attributes:
        number: from 0.
        values: of the open keys, as on the command line.
        config: of the training.
        input: what decides it; the same in another sweep is the same trial.
    """

    number: int
    values: dict[str, str]
    config: Train
    input: TrainingInput

    @property
    def name(self) -> str:
        """Its run's name: a digest of its configuration, data and code."""
        return self.config.run


def configure(space: Space, values: dict[str, str], threads: int) -> tuple[Train, list[str]]:
    """Compose and check the configuration at a point of the space.

    Args:
        space: of the sweep.
        values: the point.
        threads: for one operation.

    Returns:
        The configuration of a run named "trial", and the overrides that make it.

    Raises:
        InputError: it cannot be composed, or a value cannot be used.
    """
    overrides = [*space.overrides(values), f"validation={space.validation}", f"training.threads={threads}"]
    composed = configuration.compose("train", [*overrides, "run=trial"], paths.CONF)
    return configuration.resolve(Train, composed), overrides


def compose(space: Space, number: int, values: dict[str, str], threads: int, files: dict[str, str]) -> Trial:
    """Compose the trial at a point of the space.

    Its command line alone gives the same weights as the sweep does.

    Args:
        space: of the sweep.
        number: of the trial.
        values: the point.
        threads: for one operation.
        files: from `results.training_files`.

    Raises:
        InputError: as `configure`, or Keras refuses the optimizer.
    """
    from mnist_cnn import training  # here: Keras takes seconds, and the space is checked before

    config, overrides = configure(space, values, threads)
    decisive = {key: value for key, value in config.decisive().items() if key != "run"}
    digest = hashlib.sha256(json.dumps([decisive, files], sort_keys=True).encode()).hexdigest()
    config = config.model_copy(update={"run": f"trial_{digest[:12]}"})
    optimizer = training.build_optimizer(**config.optimizer.model_dump())
    complete = training.complete_configuration(config.decisive(), optimizer)
    command = shlex.join([*COMMAND, *overrides, f"run={config.run}"])
    return Trial(number, values, config, results.training_input(config.run, command, complete, files))
