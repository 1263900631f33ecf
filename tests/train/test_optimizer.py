from typing import Any

import pytest

from image_classifier import paths
from image_classifier.config.compose import compose, resolve
from image_classifier.config.schema import Train
from image_classifier.errors import InputError
from image_classifier.train.optimizer import build_optimizer, complete_config

OPTIMIZERS = sorted(file.stem for file in (paths.CONF / "optimizer").glob("*.yaml"))
SGD, SCHEDULES = "keras.optimizers.SGD", "keras.optimizers.schedules"


def configure(optimizer: str) -> dict[str, Any]:
    return resolve(Train, compose("train", [f"optimizer={optimizer}"])).optimizer


def test_a_share_in_a_schedule_becomes_steps_of_the_training() -> None:
    built = build_optimizer(configure("nadam"), steps=705).get_config()
    schedule = built["learning_rate"]["config"]
    assert (schedule["warmup_steps"], schedule["decay_steps"]) == (106, 599)


def test_a_whole_number_is_a_learning_rate() -> None:
    assert build_optimizer({"_target_": SGD, "learning_rate": 1}).get_config()["learning_rate"] == 1.0


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_keras_accepts_every_value_of_every_optimizer_in_conf(name: str) -> None:
    config = configure(name)
    resolved = build_optimizer(config).get_config()
    for key, value in config.items():
        if isinstance(value, dict):
            shares = {name: int(str(share)[:-1]) for name, share in value.items() if str(share).endswith("%")}
            absolute = {name: argument for name, argument in {**value, **shares}.items() if name != "_target_"}
            assert absolute.items() <= resolved[key]["config"].items()
        elif key != "_target_":
            assert resolved[key] == pytest.approx(value)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"_target_": "keras.optimizers.SGDD"}, "SGDD"),
        ({"_target_": "keras.optimizer.SGD"}, "keras.optimizer.SGD"),
        ({"momentun": 0.9}, "momentun"),
        ({"momentum": -1}, "momentum"),
        ({"learning_rate": {"_target_": f"{SCHEDULES}.X"}}, "schedules.X"),
    ],
)
def test_an_optimizer_that_keras_refuses_is_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=rf"^Keras refuses optimizer .*{named}"):
        build_optimizer({"_target_": SGD, "learning_rate": 0.1, **changes})


def complete(config: dict[str, Any]) -> dict[str, Any]:
    return complete_config({"optimizer": config}, build_optimizer(config))


def test_a_value_that_keras_chose_is_added_and_listed() -> None:
    completed = complete({"_target_": "keras.optimizers.Adadelta", "learning_rate": 1.0, "epsilon": 1e-7})
    assert completed["optimizer"]["rho"] == 0.95
    assert completed["library_defaults"] == ["optimizer.rho"]


def test_a_value_that_keras_chose_for_a_schedule_is_listed() -> None:
    schedule = {"_target_": f"{SCHEDULES}.PolynomialDecay", "initial_learning_rate": 0.1, "decay_steps": 9}
    completed = complete({"_target_": SGD, "learning_rate": schedule})
    assert completed["optimizer"]["learning_rate"]["end_learning_rate"] == 0.0001
    assert completed["library_defaults"] == [
        "optimizer.learning_rate.end_learning_rate",
        "optimizer.learning_rate.power",
    ]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_conf_has_every_deciding_value_of_an_optimizer(name: str) -> None:
    config = configure(name)
    completed = complete(config)
    assert completed["library_defaults"] == []
    assert completed["optimizer"].items() >= config.items()
