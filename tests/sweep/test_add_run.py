import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from image_classifier import paths
from image_classifier.config.compose import compose, load_table, resolve
from image_classifier.config.schema import Row, Train
from image_classifier.errors import InputError
from image_classifier.provenance.fingerprint import TrainingInput
from image_classifier.provenance.verify import RecordedRun
from image_classifier.sweep.add_run import add_run, express_as_row
from image_classifier.sweep.plan import COMMAND
from image_classifier.track import store, sweeps
from image_classifier.train.optimizer import build_optimizer, complete_config

PARAMS = paths.PARAMS.read_text()
ROW = Row(optimizer="adam", batch_size=64, epochs=3, training="default")


def trial(*overrides: str) -> tuple[dict[str, Any], str]:
    """Return the complete configuration and the command line of a trial."""
    own = ["run=trial_0123", "validation=held_out", "training.intra_op_threads=1"]
    config = resolve(Train, compose("train", [*overrides, *own]))
    complete = complete_config(config.fingerprint_config(), build_optimizer(config.optimizer))
    return complete, " ".join([*COMMAND, *overrides, *own])


def test_an_optimizer_that_has_a_file_is_named_by_it() -> None:
    assert express_as_row(*trial("optimizer=adam", "batch_size=64", "epochs=3"), "best") == (ROW, None)


def test_a_value_that_equals_the_one_in_the_file_needs_no_new_file() -> None:
    row, new = express_as_row(*trial("optimizer.learning_rate=0.01"), "best")
    assert (row.optimizer, new) == ("sgd", None)


def test_a_file_of_conf_training_is_named_as_well() -> None:
    row = Row(optimizer="nadam", batch_size=32, epochs=10, training="fast")
    assert express_as_row(*trial("optimizer=nadam", "training=fast"), "best") == (row, None)


def test_other_values_get_a_file_that_builds_the_same_optimizer() -> None:
    config, command = trial("optimizer=sgd_decay", "optimizer.momentum=0.5")
    row, new = express_as_row(config, command, "best")
    assert row.optimizer == "best"
    assert new
    rebuilt = [build_optimizer(values).get_config() for values in (new, config["optimizer"])]
    assert {**rebuilt[0], "name": ""} == {**rebuilt[1], "name": ""}


def test_values_that_a_row_cannot_express_are_named() -> None:
    with pytest.raises(InputError, match=r"^A row of params\.yaml cannot express training\.seed=7\."):
        express_as_row(*trial("training.seed=7"), "best")
    with pytest.raises(InputError, match=r"cannot express another model\."):
        express_as_row(*trial("model.name=other"), "best")


def test_a_file_of_an_optimizer_is_not_overwritten() -> None:
    with pytest.raises(InputError, match=r"^conf/optimizer/sgd\.yaml exists with other values\."):
        express_as_row(*trial("optimizer.learning_rate=0.5"), "sgd")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a copy of conf/ and params.yaml."""
    shutil.copytree(paths.CONF, tmp_path / "conf")
    shutil.copy(paths.PARAMS, tmp_path)
    monkeypatch.setattr(paths, "CONF", tmp_path / "conf")
    monkeypatch.setattr(paths, "PARAMS", tmp_path / "params.yaml")
    return tmp_path


@pytest.fixture
def record_best(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replaces MLflow by a sweep whose best trial has the given overrides."""

    def record(*overrides: str) -> None:
        config, command = trial(*overrides)
        history = pd.DataFrame({"val_accuracy": [0.9, 0.9876]})
        best = RecordedRun(
            "id", TrainingInput("trial", command, yaml.safe_dump(config), {}), "", None, "", {}, history, "", None
        )
        monkeypatch.setattr(store, "Store", lambda _experiment: None)
        monkeypatch.setattr(sweeps, "find_best_trial", lambda _store, _sweep: best)

    return record


def test_the_best_trial_becomes_a_row_and_a_file_of_its_optimizer(
    project: Path, record_best: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    record_best("optimizer.learning_rate=0.5", "batch_size=64")
    add_run("0123456789", "best")
    added = "  best: {optimizer: best, batch_size: 64, epochs: 10, training: default}\n"
    assert (project / "params.yaml").read_text() == PARAMS + added
    row = load_table(project / "params.yaml")["best"]
    assert row == Row(optimizer="best", batch_size=64, epochs=10, training="default")
    text = (project / "conf/optimizer/best.yaml").read_text()
    assert text.startswith(
        "# python -m pipelines.train optimizer=best batch_size=64 epochs=10 training=default\n"
        "#   Best trial of sweep 0123456789: 98.76% of its held-out images.\n"
    )
    composed = resolve(Train, compose("train", row.overrides("best"), project / "conf"))
    assert np.isclose(composed.optimizer["learning_rate"], 0.5)
    assert yaml.safe_load(text)["_target_"] == "keras.optimizers.SGD"
    assert capsys.readouterr().out == (
        "Wrote conf/optimizer/best.yaml\nWrote the row best of params.yaml. Train, evaluate and record it: dvc repro\n"
    )


@pytest.mark.parametrize(
    ("sweep", "name", "message"),
    [
        ("best", "best", r"^SWEEP=best: should be the 10 hexadecimal digits"),
        ("0123456789", "my best", r"^NAME=my best: should have at most 100 letters, digits, _ and -, "),
        ("0123456789", "sgd_32", r"^NAME=sgd_32 is a row of params\.yaml already\."),
    ],
)
@pytest.mark.usefixtures("project")
def test_an_invalid_or_taken_name_is_refused(sweep: str, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        add_run(sweep, name)
