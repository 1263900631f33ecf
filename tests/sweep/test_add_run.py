from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from image_classifier import paths
from image_classifier.config.compose import compose, compose_run, load_params, resolve
from image_classifier.config.schema import Row, Train
from image_classifier.errors import InputError
from image_classifier.provenance import result
from image_classifier.provenance.fingerprint import TrainingInput
from image_classifier.provenance.result import RecordedRun
from image_classifier.sweep.add_run import add_run, express_as_row
from image_classifier.sweep.plan import COMMAND
from image_classifier.track import store, sweeps
from image_classifier.train.optimizer import build_optimizer, complete_config

PARAMS = paths.PARAMS.read_text()
ROW = Row(data="mnist", model="cnn", optimizer="adam", batch_size=64, epochs=3, training="default")


def trial(*overrides: str) -> tuple[dict[str, Any], str]:
    """Return the complete configuration and the command line of a trial of a sweep."""
    own = ["run=trial_0123", "validation=held_out", "training.intra_op_threads=1"]
    config = resolve(Train, compose("train", [*overrides, *own]))
    complete = complete_config(config.fingerprint_config(), build_optimizer(config.optimizer))
    return complete, " ".join([*COMMAND, *overrides, *own])


def express(*overrides: str, own_threads: bool = False) -> tuple[Row, dict[str, Any]]:
    return express_as_row(*trial(*overrides), "best", own_threads=own_threads)


def test_an_optimizer_that_has_a_file_is_named_by_it() -> None:
    assert express("optimizer=adam", "batch_size=64", "epochs=3") == (ROW, {})


def test_a_value_that_equals_the_one_in_the_file_needs_no_new_file() -> None:
    row, new = express("optimizer.learning_rate=0.01", "training.seed=42")
    assert (row.optimizer, row.training, new) == ("sgd", "default", {})


def test_a_file_of_conf_training_is_named_as_well() -> None:
    row = ROW.model_copy(update={"optimizer": "nadam", "batch_size": 32, "epochs": 10, "training": "fast"})
    assert express("optimizer=nadam", "training=fast") == (row, {})


def test_other_values_get_a_file_that_builds_the_same_optimizer() -> None:
    overrides = ["optimizer=sgd_decay", "optimizer.momentum=0.5"]
    row, new = express(*overrides)
    assert (row.optimizer, row.training) == ("best", "default")
    rebuilt = [build_optimizer(values).get_config() for values in (new["optimizer"], trial(*overrides)[0]["optimizer"])]
    assert {**rebuilt[0], "name": ""} == {**rebuilt[1], "name": ""}


def test_an_argument_that_the_file_of_the_optimizer_does_not_have_is_kept() -> None:
    row, new = express("+optimizer.weight_decay=0.1")
    assert row.optimizer == "best"
    assert new["optimizer"]["weight_decay"] == 0.1


def test_other_settings_of_a_training_get_a_file_with_their_differences_from_the_default() -> None:
    row, new = express("training=fast", "training.seed=7", "training.max_shift_px=0")
    assert (row.optimizer, row.training) == ("sgd", "best")
    changed = {"precision": "mixed_bfloat16", "label_smoothing": 0.05, "seed": 7}
    assert new == {"training": {"defaults": ["default", "_self_"], **changed}}


def test_the_number_of_threads_is_kept_except_for_a_trial_whose_sweep_sets_it() -> None:
    assert express(own_threads=False)[1] == {}
    assert express(own_threads=True)[1]["training"]["intra_op_threads"] == 1


def test_changed_layers_cannot_be_expressed_and_are_named() -> None:
    with pytest.raises(InputError, match=r"^A row of params\.yaml cannot express changed layers\."):
        express("model.name=other")


@pytest.fixture
def record_best(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replaces MLflow by a sweep whose best trial has the given overrides."""

    def record(*overrides: str) -> None:
        config, command = trial(*overrides)
        history = pd.DataFrame({"val_accuracy": [0.9, 0.9876]})
        best = RecordedRun(
            "id", TrainingInput("trial", command, yaml.safe_dump(config), {}), "", None, "", {}, history, "", None, 60
        )
        monkeypatch.setattr(store, "Store", lambda _experiment: None)
        monkeypatch.setattr(sweeps, "find_best_trial", lambda _stores, _sweep: best)

    return record


def test_the_best_trial_becomes_a_row_and_a_file_of_its_optimizer(
    project: Path, record_best: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    record_best("optimizer.learning_rate=0.5", "batch_size=64")
    add_run("0123456789", "best")
    added = "  best: {data: mnist, model: cnn, optimizer: best, batch_size: 64, epochs: 10, training: default}\n"
    assert (project / "params.yaml").read_text() == PARAMS + added
    row = load_params().runs["best"]
    assert row == ROW.model_copy(update={"optimizer": "best", "epochs": 10})
    text = (project / "conf/optimizer/best.yaml").read_text()
    assert text.startswith(
        "# python -m pipelines.train data=mnist model=cnn optimizer=best batch_size=64 epochs=10 training=default\n"
        "#   Best trial of sweep 0123456789: 98.76% of its held-out images.\n"
    )
    composed = resolve(Train, compose("train", row.overrides("best")))
    assert np.isclose(composed.optimizer["learning_rate"], 0.5)
    assert yaml.safe_load(text)["_target_"] == "keras.optimizers.SGD"
    assert capsys.readouterr().out == (
        "Wrote conf/optimizer/best.yaml\nWrote the row best of params.yaml. Train, evaluate and record it: dvc repro\n"
    )


@pytest.fixture
def adhoc(project: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An ad hoc run with another learning rate and seed, whose name could be that of a sweep."""
    config, command = trial("optimizer.learning_rate=0.5", "training.seed=7", "training.intra_op_threads=2")
    name = "0123456789"
    (project / "outputs" / name).mkdir(parents=True)
    (project / "outputs" / name / "model.h5").touch()
    found = SimpleNamespace(input=TrainingInput(name, command, yaml.safe_dump(config), {}))
    monkeypatch.setattr(result, "read_result", {name: found}.__getitem__)
    return name


def test_an_ad_hoc_run_becomes_a_row_that_trains_with_its_values(project: Path, adhoc: str) -> None:
    add_run(adhoc, "best")
    row = load_params().runs["best"]
    changed = {"optimizer": "best", "batch_size": 32, "epochs": 10, "training": "best"}
    assert row == ROW.model_copy(update=changed)
    train = compose_run("best", row)
    assert (train.optimizer["learning_rate"], train.training.seed) == (0.5, 7)
    for group in ("optimizer", "training"):
        assert "#   Values of the ad hoc run 0123456789.\n" in (project / f"conf/{group}/best.yaml").read_text()


@pytest.mark.parametrize("group", ["optimizer", "training"])
def test_nothing_is_written_if_one_of_the_files_exists_with_other_values(project: Path, adhoc: str, group: str) -> None:
    (project / f"conf/{group}/best.yaml").write_text("seed: 8\n")
    before = {file: file.read_text() for file in project.rglob("*.yaml")}
    with pytest.raises(InputError, match=rf"^conf/{group}/best\.yaml exists with other values\."):
        add_run(adhoc, "best")
    assert {file: file.read_text() for file in project.rglob("*.yaml")} == before


def test_an_interrupted_command_can_be_repeated(project: Path, adhoc: str) -> None:
    add_run(adhoc, "best")
    (project / "params.yaml").write_text(PARAMS)  # the row is written last
    add_run(adhoc, "best")
    assert "best" in load_params().runs


@pytest.mark.parametrize(
    ("source", "name", "message"),
    [
        ("best", "best", r"^SOURCE=best: should be the 10 hexadecimal digits that a sweep printed, or a trained run"),
        ("0123456789", "my best", r"^NAME=my best: should have at most 100 letters, digits, _ and -, "),
        ("0123456789", "sgd_32", r"^NAME=sgd_32 is a row of params\.yaml already\."),
    ],
)
@pytest.mark.usefixtures("project")
def test_an_invalid_or_taken_name_is_refused(source: str, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        add_run(source, name)
