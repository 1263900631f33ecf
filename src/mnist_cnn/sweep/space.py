"""The values that a command line leaves open, in Hydra's grammar."""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from mnist_cnn.errors import InputError

# What a sweep decides for each of its trials.
RESERVED = {
    "run": "a sweep names its trials",
    "validation": "trials are compared on held-out training images; their number is validation.held_out",
    "validation.every_epoch": "trials are compared after every epoch",
    "training.threads": "a trial has as many as sweep.cpus_per_trial",
}


@dataclass(frozen=True)
class Dimension:
    """A key whose value a sweep chooses.

    Attributes:
        key: as on the command line, such as `batch_size` or `+training.new`.
        text: its values, as they were typed.
        distribution: of Optuna's suggestions; of the positions in `values`, if that is a range.
        values: all of them in the order of Hydra; none for an interval.
    """

    key: str
    text: str
    distribution: BaseDistribution
    values: tuple[str, ...] | None

    def value(self, suggested: str | float) -> str:
        """Say a suggestion of Optuna's as the command line does."""
        if self.values is not None and isinstance(self.distribution, IntDistribution):
            return self.values[int(suggested)]
        return str(suggested)

    @property
    def extremes(self) -> tuple[str, ...]:
        """All values, or both ends of a range or interval: if the configuration takes these, it takes them all."""
        if self.values is not None:
            return (
                self.values
                if isinstance(self.distribution, CategoricalDistribution)
                else self.values[:: len(self.values) - 1 or 1]
            )
        return str(self.distribution.low), str(self.distribution.high)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Space:
    """What a sweep tries.

    Attributes:
        fixed: overrides of every trial.
        dimensions: what differs, by key.
        validation: a file of conf/validation/, of every trial.
    """

    fixed: tuple[str, ...]
    dimensions: dict[str, Dimension]
    validation: str = "held_out"

    def overrides(self, values: dict[str, str]) -> list[str]:
        """Say a point of the space in Hydra's grammar."""
        return [*self.fixed, *(f"{key}={value}" for key, value in values.items())]

    def text(self) -> dict[str, str]:
        """Say what is open, as it was typed."""
        return {key: dimension.text for key, dimension in self.dimensions.items()}

    def grid(self) -> list[dict[str, str]]:
        """List every combination once, the last dimension changing fastest.

        Raises:
            InputError: a dimension is an interval.
        """
        for dimension in self.dimensions.values():
            if dimension.values is None:
                raise InputError(
                    f"{dimension.key}={dimension.text}: a grid cannot list an interval. "
                    "Give values (a,b,c), or choose sweep=random or sweep=tpe."
                )
        values = [dict.fromkeys(dimension.values or ()) for dimension in self.dimensions.values()]
        return [dict(zip(self.dimensions, point, strict=True)) for point in product(*values)]

    def corners(self) -> list[dict[str, str]]:
        """List points that together have every listed value and both ends of every range and interval."""
        extremes = {key: dimension.extremes for key, dimension in self.dimensions.items()}
        count = max(map(len, extremes.values()), default=1)
        return [
            {key: values[min(index, len(values) - 1)] for key, values in extremes.items()} for index in range(count)
        ]


def parse(overrides: Iterable[Override]) -> Space:
    """Read a space from a command line.

    Raises:
        InputError: a key is none that a sweep may choose, or has no values.
    """
    fixed, dimensions = [], {}
    last = {override.get_key_element(): override for override in overrides}  # the last one wins, as in Hydra
    for key, override in last.items():
        plain = override.key_or_group
        if plain in RESERVED:
            raise InputError(f"{key} cannot be given with -m: {RESERVED[plain]}.")
        if not override.is_sweep_override():
            if plain != "sweep" and not plain.startswith("sweep."):
                fixed.append(override.input_line or "")
        elif plain == "sweep" or plain.startswith(("sweep.", "tracking", "validation.")):
            raise InputError(f"{key}={override.get_value_string()}: cannot be swept, give one value.")
        else:
            dimensions[key] = _dimension(override)
    return Space(tuple(fixed), dimensions)


def _dimension(override: Override) -> Dimension:
    key, text = override.get_key_element(), override.get_value_string()
    swept: Any = override.value()
    if override.is_interval_sweep():
        return Dimension(key, text, _interval(key, text, swept), None)
    shuffled, swept.shuffle = swept.shuffle, False  # another order in each process would be another sweep each time
    values = list(dict.fromkeys(override.sweep_string_iterator()))
    if not values:
        raise InputError(f"{key}={text}: is empty, there is nothing to try.")
    if shuffled:
        random.Random(0).shuffle(values)  # noqa: S311  # not for secrets
    if override.is_range_sweep() and not shuffled:
        return Dimension(key, text, IntDistribution(0, len(values) - 1), tuple(values))
    return Dimension(key, text, CategoricalDistribution(values), tuple(values))


def _interval(key: str, text: str, interval: IntervalSweep) -> BaseDistribution:
    low, high, log = interval.start, interval.end, "log" in interval.tags
    if low is None or high is None or low >= high:
        raise InputError(f"{key}={text}: is empty, the first number should be the smaller one.")
    if log and low <= 0:
        raise InputError(f"{key}={text}: a logarithmic interval should begin above 0.")
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)
