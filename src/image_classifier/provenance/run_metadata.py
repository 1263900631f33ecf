"""Metadata that repeating a training does not reproduce: times, machine, revision."""

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Self

from image_classifier import environment, paths
from image_classifier.errors import InputError
from image_classifier.files import atomic_write, digest, file_hashes
from image_classifier.paths import RunFiles
from image_classifier.provenance.fingerprint import TrainingInput
from image_classifier.provenance.revision import Revision

OUTPUTS = ("config.yaml", "history.csv", "model.h5")


@dataclass(frozen=True)
class RunMetadata:
    """Metadata of one training.

    Attributes:
        input: Configuration, data and code.
        started: Start time in seconds since 1970.
        training_images: Number of images in an epoch.
        environment: Facts from `environment.describe`.
        revision: Git revision of the code.
        parent: MLflow run of the sweep that the training belongs to.
        epoch_seconds: Duration of each epoch including its validation; empty until the training ends.
    """

    input: TrainingInput
    started: float
    training_images: int
    environment: dict[str, str]
    revision: Revision
    parent: str | None = None
    epoch_seconds: list[float] = field(default_factory=list)

    @classmethod
    def start(cls, training: TrainingInput, training_images: int, revision: Revision, parent: str | None) -> Self:
        """Return the metadata of a training that starts now."""
        return cls(training, time.time(), training_images, environment.describe(), revision, parent)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse the text that `to_json` returned."""
        values = json.loads(text)
        revision = Revision(**{**values["revision"], "uncommitted": tuple(values["revision"]["uncommitted"])})
        return cls(**{**values, "input": TrainingInput(**values["input"]), "revision": revision})

    def to_json(self) -> str:
        """Return the metadata as one line of JSON."""
        return json.dumps(asdict(self))

    def write(self, files: RunFiles) -> None:
        """Store the metadata under the fingerprint of the result in `files`.

        A repetition with the same input keeps the metadata of the first training, except for the sweep.
        """
        path = paths.run_metadata(result_fingerprint(output_hashes(files)))
        kept = self
        with suppress(FileNotFoundError, ValueError, KeyError, TypeError):  # no file, or a damaged one
            first = self.from_json(path.read_text())
            kept = first if first.input.fingerprint == self.input.fingerprint else self
        with atomic_write(path) as temporary:
            temporary.write_text(replace(kept, parent=self.parent).to_json() + "\n")


def output_hashes(files: RunFiles) -> dict[str, str]:
    """Return the MD5 of config.yaml, history.csv and model.h5 of a run."""
    return file_hashes(files.directory, OUTPUTS)


def result_fingerprint(outputs: dict[str, str]) -> str:
    """Return a digest of the complete configuration, the history and the model; see `output_hashes`."""
    return digest(outputs)


def read_metadata(outputs: dict[str, str]) -> RunMetadata | None:
    """Read the metadata of a result, or return None if the training ran in another project folder.

    Args:
        outputs: Hashes of the outputs, see `output_hashes`.

    Raises:
        InputError: The file is damaged.
    """
    path = paths.run_metadata(result_fingerprint(outputs))
    if not path.exists():
        return None
    try:
        return RunMetadata.from_json(path.read_text())
    except (ValueError, KeyError, TypeError) as error:
        lost = "the times of that training are lost, and an ad hoc run must be trained again"
        raise InputError(f"{path} is damaged ({error}). Remove it: {lost}.") from None
