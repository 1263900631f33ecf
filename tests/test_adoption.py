from typing import Any

import pytest
import yaml

from mnist_cnn import adoption, paths, training
from mnist_cnn.configuration import compose, resolve
from mnist_cnn.errors import InputError
from mnist_cnn.schema import Optimizer, Row, Train


def winner(*overrides: str) -> dict[str, Any]:
    """The complete configuration of a trial."""
    trial = ["run=trial_0123", "validation=held_out", "training.threads=1"]
    config = resolve(Train, compose("train", [*overrides, *trial], paths.CONF))
    optimizer = training.build_optimizer(**config.optimizer.model_dump())
    return training.complete_configuration(config.decisive(), optimizer)


def test_an_optimizer_that_has_a_file_is_named_by_it() -> None:
    adopted = adoption.adopt(winner("optimizer=adam", "batch_size=64", "epochs=3"), "best", "", paths.CONF)
    assert adopted == adoption.Adoption(Row(optimizer="adam", batch_size=64, epochs=3, training="default"), None)


def test_a_file_of_training_is_named_too() -> None:
    adopted = adoption.adopt(winner("optimizer=nadam", "training=fast"), "best", "", paths.CONF)
    assert adopted == adoption.Adoption(Row(optimizer="nadam", batch_size=32, epochs=10, training="fast"), None)


def test_another_optimizer_gets_a_file_that_builds_the_same_one() -> None:
    configuration = winner("optimizer=sgd_decay", "optimizer.config.momentum=0.5")
    adopted = adoption.adopt(configuration, "best", "Won sweep 0123456789.", paths.CONF)
    assert adopted.row.optimizer == "best"
    assert adopted.optimizer
    command = "python -m pipelines.train optimizer=best batch_size=32 epochs=10 training=default"
    assert adopted.optimizer.startswith(f"# {command}\n#   Won sweep 0123456789.\n")
    written = Optimizer(**yaml.safe_load(adopted.optimizer)).model_dump()
    rebuilt = [training.build_optimizer(**config).get_config() for config in (written, configuration["optimizer"])]
    assert [{**config, "name": ""} for config in rebuilt[:1]] == [{**config, "name": ""} for config in rebuilt[1:]]


def test_what_a_row_cannot_say_is_named() -> None:
    with pytest.raises(InputError, match=r"^A row of params\.yaml cannot say training\.seed=7\."):
        adoption.adopt(winner("training.seed=7"), "best", "", paths.CONF)


def test_an_optimizer_s_file_is_not_overwritten() -> None:
    with pytest.raises(InputError, match=r"^conf/optimizer/sgd\.yaml exists and says something else\."):
        adoption.adopt(winner("optimizer.config.learning_rate=0.5"), "sgd", "", paths.CONF)


def test_a_row_is_added_and_comments_stay() -> None:
    text = paths.PARAMS.read_text()
    added = adoption.add_row(text, "best", Row(optimizer="adam", batch_size=64, epochs=3, training="default"))
    assert added == text + "  best: {optimizer: adam, batch_size: 64, epochs: 3, training: default}\n"


def test_a_row_is_not_overwritten() -> None:
    with pytest.raises(InputError, match=r"^name=sgd_32 is a row of params\.yaml already\."):
        adoption.add_row(
            paths.PARAMS.read_text(), "sgd_32", Row(optimizer="adam", batch_size=64, epochs=3, training="default")
        )
