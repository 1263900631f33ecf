"""The search space of a sweep: the keys for which a command line gives several values, in Hydra's grammar."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from image_classifier.errors import InputError

Point = dict[str, str]  # a value for each key of a space, as on the command line

# Keys that the sweep itself sets for each trial, and why the command line cannot.
RESERVED = {
    "run": "the sweep names its trials",
    "validation": "trials are compared on held-out training images; validation.size is their number",
    "validation.name": "trials are compared on held-out training images",
    "validation.every_epoch": "trials are compared after every epoch",
    "training.intra_op_threads": "give sweep.cpus_per_trial",
}


@dataclass(frozen=True)
class Dimension:
    """A key whose value the sweep chooses.

    Attributes:
        text: Text of the values on the command line.
        distribution: Distribution for Optuna; for a range, the distribution of the positions in `values`.
        values: All values in Hydra's order, or None for an interval.
    """

    text: str
    distribution: BaseDistribution
    values: tuple[str, ...] | None

    def format_value(self, suggestion: str | float) -> str:
        """Return a suggestion of Optuna's as a value for the command line."""
        if self.values is not None and isinstance(self.distribution, IntDistribution):
            return self.values[int(suggestion)]
        return str(suggestion)

    @property
    def boundary_values(self) -> tuple[str, ...]:
        """All listed values, or both ends of a range or an interval. If they are valid, every value is."""
        if self.values is None:
            return str(self.distribution.low), str(self.distribution.high)  # type: ignore[attr-defined]
        if isinstance(self.distribution, IntDistribution):
            return self.values[0], self.values[-1]
        return self.values


@dataclass(frozen=True)
class Space:
    """Search space of a sweep.

    Attributes:
        fixed: Overrides that all trials share.
        dimensions: Keys whose values differ between trials, as on the command line, such as `+training.new`.
    """

    fixed: tuple[str, ...]
    dimensions: dict[str, Dimension]

    def overrides(self, point: Point) -> list[str]:
        """Return a point of the space as Hydra overrides."""
        return [*self.fixed, *(f"{key}={value}" for key, value in point.items())]

    def grid_points(self) -> list[Point]:
        """List each combination of values once; the last dimension changes fastest.

        Raises:
            InputError: A dimension is an interval.
        """
        for key, dimension in self.dimensions.items():
            if dimension.values is None:
                raise InputError(
                    f"{key}={dimension.text}: a grid cannot list an interval. "
                    "Give values (a,b,c), or choose sweep=random or sweep=tpe."
                )
        combinations = product(*(dimension.values or () for dimension in self.dimensions.values()))
        return [dict(zip(self.dimensions, values, strict=True)) for values in combinations]

    def boundary_points(self) -> list[Point]:
        """List points that together contain all boundary values of each dimension."""
        boundaries = {key: dimension.boundary_values for key, dimension in self.dimensions.items()}
        count = max(map(len, boundaries.values()), default=1)
        return [
            {key: values[min(index, len(values) - 1)] for key, values in boundaries.items()} for index in range(count)
        ]


def parse_space(overrides: Iterable[Override], threads: int) -> Space:
    """Read the search space from a command line.

    Args:
        overrides: Overrides of the command line.
        threads: Threads within one operation, for each trial.

    Raises:
        InputError: A key cannot be swept, or has no values.
    """
    fixed = ["validation=held_out", f"training.intra_op_threads={threads}"]
    dimensions = {}
    last = {override.get_key_element(): override for override in overrides}  # the last one wins, as in Hydra
    for key, override in last.items():
        plain = override.key_or_group
        is_setting = plain == "sweep" or plain.startswith("sweep.")
        if plain in RESERVED:
            raise InputError(f"{key} cannot be given with -m: {RESERVED[plain]}.")
        if override.is_sweep_override():
            if is_setting or plain.startswith(("data", "validation.")):
                raise InputError(f"{key}={override.get_value_string()}: cannot be swept, give one value.")
            dimensions[key] = _parse_dimension(override)
        elif not is_setting:
            fixed.append(override.input_line or "")
    return Space(tuple(fixed), dimensions)


def _parse_dimension(override: Override) -> Dimension:
    key = override.get_key_element()
    text = override.get_value_string()
    swept: Any = override.value()
    if override.is_interval_sweep():
        return Dimension(text, _interval_distribution(key, text, swept), None)
    if swept.shuffle:  # Hydra draws another order in each process
        raise InputError(f"{key}={text}: shuffle is not supported. Give the values in the order of their trials.")
    values = list(dict.fromkeys(override.sweep_string_iterator()))
    if not values:
        raise InputError(f"{key}={text}: has no values.")
    if override.is_range_sweep():
        return Dimension(text, IntDistribution(0, len(values) - 1), tuple(values))
    return Dimension(text, CategoricalDistribution(values), tuple(values))


def _interval_distribution(key: str, text: str, interval: IntervalSweep) -> BaseDistribution:
    low, high = interval.start, interval.end
    log = "log" in interval.tags
    if low is None or high is None or low >= high:
        raise InputError(f"{key}={text}: is empty, the first number should be the smaller one.")
    if log and low <= 0:
        raise InputError(f"{key}={text}: a logarithmic interval should begin above 0.")
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)
