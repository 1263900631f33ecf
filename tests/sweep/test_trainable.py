"""The states that the process of a trial reports, without Ray and without a training."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import ray
from ray import tune

from image_classifier.config.schema import Train
from image_classifier.errors import BusyError, InputError
from image_classifier.provenance.revision import Revision
from image_classifier.sweep import trainable
from image_classifier.sweep.engine import ACCURACY, EPOCH, NODE, REASON, STATE

FILES = {"data/prepared/mnist": "0123"}


class Node:
    """Stands for Ray's context."""

    def get_node_id(self) -> str:
        return "node"


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The reports to Ray."""
    collected: list[dict[str, Any]] = []
    monkeypatch.setattr(ray, "get_runtime_context", Node)
    monkeypatch.setattr(tune, "report", collected.append)
    monkeypatch.setattr(trainable, "_make_data", lambda _data: None)
    monkeypatch.setattr(trainable, "training_files", lambda _data: FILES)
    return collected


@pytest.fixture
def train(trial_config: Train, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., None]], None]:
    """Trains a trial with a stub of `train_run`."""

    def run(stub: Callable[..., None], files: dict[str, str] = FILES) -> None:
        monkeypatch.setattr(trainable, "train_run", stub)
        job = {"name": "trial", "config": trial_config.model_dump(), "command": "command"}
        trainable.train_trial(job, files=files, revision=Revision(), parent="sweep")

    return run


def test_every_epoch_is_reported_and_the_last_one_after_the_training(
    train: Callable[..., None], reports: list[dict[str, Any]]
) -> None:
    def train_run(*_: Any, on_epoch: Callable[[int, dict[str, float]], None], **__: Any) -> None:
        for epoch in (1, 2, 3):
            on_epoch(epoch, {"val_accuracy": epoch / 10})
        assert len(reports) == 2

    train(train_run)
    assert reports == [
        {EPOCH: 1, ACCURACY: 0.1, NODE: "node"},
        {EPOCH: 2, ACCURACY: 0.2, NODE: "node"},
        {EPOCH: 3, ACCURACY: 0.3, NODE: "node", STATE: "complete", REASON: ""},
    ]


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (InputError("The loss became NaN"), "failed", "The loss became NaN"),
        (BusyError("being trained"), "crashed", "being trained"),
        (OSError("no space left"), "crashed", "OSError: no space left"),
    ],
)
def test_an_error_decides_whether_a_trial_is_tried_again(
    train: Callable[..., None], reports: list[dict[str, Any]], error: Exception, state: str, reason: str
) -> None:
    def train_run(*_: Any, **__: Any) -> None:
        raise error

    train(train_run)
    (report,) = reports
    assert (report[EPOCH], report[STATE], report[REASON]) == (3, state, reason)
    assert math.isnan(report[ACCURACY])


def test_a_node_with_other_data_or_code_does_not_train(
    train: Callable[..., None], reports: list[dict[str, Any]]
) -> None:
    def train_run(*_: Any, **__: Any) -> None:
        pytest.fail("trained")

    train(train_run, {"data/prepared/mnist": "4567"})
    (report,) = reports
    assert report[STATE] == "crashed"
    assert report[REASON].startswith("the data or code of this node differs")
