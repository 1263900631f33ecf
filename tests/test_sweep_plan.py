import re

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from mnist_cnn import paths
from mnist_cnn.configuration import compose, resolve
from mnist_cnn.errors import InputError
from mnist_cnn.schema import Sweep, Train
from mnist_cnn.sweep import plan, space, trials

PRESETS = sorted(file.stem for file in (paths.CONF / "sweep").glob("*.yaml"))
FILES = {"data/prepared/mnist.npz": "0123"}


def settings(*overrides: str) -> Sweep:
    return resolve(Train, compose("train", list(overrides), paths.CONF)).sweep


def planned(preset: str, *overrides: str, files: dict[str, str] = FILES) -> plan.Plan:
    parsed = OverridesParser.create().parse_overrides([f"sweep={preset}", *overrides])
    configured = settings(f"sweep={preset}", *(o for o in overrides if o.startswith("sweep.")))
    searched = space.parse(parsed)
    checked = plan.check(searched, configured)

    def compose(number: int, point: dict[str, str]) -> trials.Trial:
        return trials.compose(searched, number, point, 1, files)

    return plan.make(searched, configured, checked, files, compose)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_plans_a_sweep(preset: str) -> None:
    assert planned(preset, "batch_size=32,64").count > 1


def test_trials_validate_on_held_out_images_with_their_own_threads() -> None:
    (trial, *_) = planned("grid", "batch_size=32,64").known or []
    assert trial.config.validation.held_out == 10_000
    assert trial.config.training.threads == 1


def test_a_trial_s_name_follows_its_configuration_data_and_code_and_nothing_else() -> None:
    first = planned("grid", "batch_size=32,64").known or []
    other = planned("random", "batch_size=64,128", "sweep.trials=20").known or []
    names = {trial.values["batch_size"]: trial.name for trial in other}
    assert names["64"] == first[1].name
    assert names["128"] not in {trial.name for trial in first}
    (changed, *_) = planned("grid", "batch_size=64", files={"data/prepared/mnist.npz": "4567"}).known or []
    assert changed.name != first[1].name


def test_the_command_of_a_trial_composes_its_configuration() -> None:
    (trial, *_) = planned("grid", "optimizer=adam", "optimizer.config.learning_rate=0.1,0.2").known or []
    overrides = trial.input.command.removeprefix("python -m pipelines.train ").split()
    assert resolve(Train, compose("train", overrides, paths.CONF)) == trial.config


def test_the_same_sweep_has_the_same_identity_whatever_its_number_of_trials() -> None:
    of_three = planned("tpe", "batch_size=32,64", "sweep.trials=3")
    assert planned("tpe", "batch_size=32,64", "sweep.trials=9").identity == of_three.identity
    assert planned("tpe", "batch_size=32,64", "sweep.seed=1").identity != of_three.identity
    assert planned("tpe", "batch_size=32,65").identity != of_three.identity
    assert planned("tpe", "batch_size=32,64", files={"data/prepared/mnist.npz": "4567"}).identity != of_three.identity


@pytest.mark.parametrize(
    ("preset", "overrides", "message"),
    [
        (
            "grid",
            ["sweep.trials=3", "batch_size=32,64"],
            "sweep.trials=3: a grid has as many as there are combinations.",
        ),
        ("random", ["sweep.trials=null", "batch_size=32,64"], "sweep.trials=null: give the number of trials"),
        ("tpe", ["epochs=3"], "sweep.search=tpe has nothing to choose"),
        ("grid", ["optimizer.config.learning_rate=interval(1, 2)"], "a grid cannot list an interval"),
        ("grid", ["validation.held_out=0", "epochs=1,2"], "validation.held_out=0: a sweep chooses"),
        ("grid", ["sweep.address=local", "epochs=1,2"], "sweep.address=local: String should match"),
        ("grid", ["optimizer=sgd,adam", "optimizer.config.nesterov=true"], "Not every choice of the groups"),
        ("tpe", ["optimizer.config.momentum=interval(-1, 0.5)"], "Keras refuses optimizer SGD"),
        ("grid", ["epoch=1,2"], "Unknown key 'epoch'. Did you mean 'epochs'?"),
        ("grid", ["optimizer=sgd,sdg"], "Unknown optimizer 'sdg'."),
        ("grid", ["batch_size=32,64,0"], "batch_size=0: should be greater than 0"),
        ("tpe", ["batch_size=int(interval(0, 9))"], "batch_size=0: should be greater than 0"),
        ("grid", ["optimizer.config.momentum=0.5,-1.0"], "Keras refuses optimizer SGD"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_before_anything_starts(
    preset: str, overrides: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        planned(preset, *overrides)
