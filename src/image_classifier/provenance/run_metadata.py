"""Metadata that repeating a training does not reproduce: times, machine, revision."""

import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Self

from pydantic import TypeAdapter

from image_classifier import environment, paths
from image_classifier.errors import InputError
from image_classifier.files import digest, file_hashes, write_json
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

    def write(self, files: RunFiles) -> None:
        """Store the metadata under the fingerprint of the result in `files`.

        If the same training is repeated, the metadata of its first execution stay, and only `parent` is replaced.
        """
        outputs = file_hashes(files.directory, OUTPUTS)
        previous = None
        with suppress(InputError):  # a damaged file
            previous = read_metadata(outputs)
        metadata = previous if previous and previous.input.fingerprint == self.input.fingerprint else self
        write_json(paths.run_metadata(digest(outputs)), asdict(replace(metadata, parent=self.parent)))


def read_metadata(outputs: dict[str, str]) -> RunMetadata | None:
    """Read the metadata of a result, or return None if the training ran in another project folder.

    Args:
        outputs: MD5 of config.yaml, history.csv and model.h5.

    Raises:
        InputError: The file is damaged.
    """
    path = paths.run_metadata(digest(outputs))
    try:
        return TypeAdapter(RunMetadata).validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        reason = " ".join(str(error).split())
        lost = "the times of that training are lost, and an ad hoc run must be trained again"
        raise InputError(f"{path} is damaged ({reason}). Remove it: {lost}.") from None
