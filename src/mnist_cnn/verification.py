"""Verification: whether a training that was done again gave what the record says, and if not, what differs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from mnist_cnn import environment, results
from mnist_cnn.paths import RunFiles


@dataclass(frozen=True)
class Recorded:
    """What is remembered of a training.

    Attributes:
        run: its name.
        command: the command line that started it.
        identity: of its result.
        commit: that was checked out when it was trained; none outside a git repository.
        uncommitted: changed files that went into it.
        files: path and MD5 of its data and code.
        environment: from `environment.describe`.
        configuration: its config.yaml.
        history: columns loss, accuracy, val_loss and val_accuracy; index epoch, from 1.
        model: MD5 of its model.h5.
    """

    run: str
    command: str
    identity: str
    commit: str | None
    uncommitted: str
    files: dict[str, str]
    environment: dict[str, str]
    configuration: dict[str, Any]
    history: pd.DataFrame
    model: str


@dataclass(frozen=True)
class Difference:
    """What is not as it was recorded.

    Attributes:
        what: a file, a value of the configuration, or a fact of the environment.
        recorded: then; None if there was none.
        now: again; None if there is none.
    """

    what: str
    recorded: str | None
    now: str | None

    def __str__(self) -> str:
        """Name both."""
        return f"{self.what}: {self.recorded or 'nothing'} in the record, {self.now or 'nothing'} now"


@dataclass(frozen=True)
class Deviation:
    """The first epoch in which two histories differ.

    Attributes:
        epoch: from 1.
        differences: of that epoch's measures, now less recorded; those that are equal are left out. Empty if one of
            the histories ends before.
        largest: absolute difference of any measure in any epoch; infinite if a history is shorter or lacks a measure.
    """

    epoch: int
    differences: dict[str, float]
    largest: float


def differences(recorded: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[Difference]:
    """List what differs between two mappings, which may hold mappings: `optimizer.config.learning_rate`."""
    found = []
    for key in [*recorded, *(key for key in now if key not in recorded)]:
        old, new = recorded.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append(Difference(f"{prefix}{key}", *(None if value is None else str(value) for value in (old, new))))
    return found


def first_deviation(recorded: pd.DataFrame, now: pd.DataFrame) -> Deviation | None:
    """Find the first epoch in which two histories are not equal to the bit; None if there is none.

    Args:
        recorded: index epoch, a column for each measure.
        now: the same.
    """
    old, new = recorded.align(now)
    unequal = ~((old == new) | (old.isna() & new.isna())).all(axis=1)
    if not unequal.any():
        return None
    epoch = unequal.idxmax()
    change = new - old
    of_epoch = {str(name): float(value) for name, value in change.loc[epoch].items() if value and np.isfinite(value)}
    lacking = bool((old.isna() != new.isna()).any(axis=None))
    largest = np.inf if lacking else float(change.abs().max(axis=None))
    return Deviation(int(epoch), of_epoch, largest)


@dataclass(frozen=True)
class Verdict:
    """What came of a verification.

    Attributes:
        deviation: of the history; None if it is the same to the bit.
        same_model: model.h5 has the same bytes.
        differences: of data, code, configuration and environment.
        tolerance: that was asked for.
    """

    deviation: Deviation | None
    same_model: bool
    differences: list[Difference]
    tolerance: float

    @property
    def identical(self) -> bool:
        """Whether everything that was compared has the same bits."""
        return self.same_model and self.deviation is None

    @property
    def verified(self) -> bool:
        """Whether the result is identical, or its history within the tolerance."""
        largest = self.deviation.largest if self.deviation else 0.0
        return self.identical or (self.tolerance > 0 and largest <= self.tolerance)

    def __str__(self) -> str:
        """Say it in a few lines."""
        if self.identical:
            lines = ["Identical to the bit: every measure of every epoch, and model.h5."]
        elif self.deviation is None:
            lines = ["Every measure of every epoch is identical to the bit, model.h5 is not."]
        else:
            measures = ", ".join(f"{name} by {value:+.3g}" for name, value in self.deviation.differences.items())
            lines = [
                f"Differs first in epoch {self.deviation.epoch}: {measures or 'one of the two ends before'}.",
                f"Largest difference in any epoch: {self.deviation.largest:.3g}, tolerance {self.tolerance:g}.",
            ]
        if self.differences:
            lines += ["Not as it was recorded:", *(f"  {difference}" for difference in self.differences)]
        elif not self.identical:
            lines.append("Data, code, configuration and environment are as they were recorded.")
        return "\n".join(lines)


def compare(record: Recorded, root: Path, files: RunFiles, tolerance: float) -> Verdict:
    """Compare a training with its record.

    Args:
        record: of the first time.
        root: the copy of the project in which it was done again.
        files: what that made.
        tolerance: absolute, of the measures; 0 or more.
    """
    return Verdict(
        first_deviation(record.history, pd.read_csv(files.history, index_col="epoch")),
        md5s(files.directory, ["model.h5"])["model.h5"] == record.model,
        [
            *differences(record.files, md5s(root, record.files)),
            *differences(record.configuration, yaml.safe_load(files.configuration.read_text())),
            *differences(record.environment, environment.describe()),
        ],
        tolerance,
    )


def md5s(root: Path, files: Iterable[str]) -> dict[str, str]:
    """Hash those of the files below a folder that exist."""
    found = (file for file in files if (root / file).is_file())
    return {file: results.md5((root / file).read_bytes()) for file in found}
