"""Values that Keras chooses, pinned: an upgrade that changes a default must not change results silently."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import yaml

from image_classifier import paths
from image_classifier.config.compose import compose, resolve
from image_classifier.config.schema import Train
from image_classifier.train.model import build_model
from image_classifier.train.optimizer import build_optimizer

PINNED = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())
ADVICE = "Keras resolves this to another value than the pinned one. Write the value into conf/, or pin the new one."


def plain(value: Any) -> Any:
    """Leave out module and registered names."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key not in ("module", "registered_name")}
    return list(map(plain, value)) if isinstance(value, list | tuple) else value


def optimizer(name: str) -> dict[str, Any]:
    config = resolve(Train, compose("train", [f"optimizer={name}"])).optimizer
    resolved = build_optimizer(config).get_config()
    return {key: plain(value) for key, value in resolved.items() if key != "name"}


def build(config: Train) -> keras.Sequential:
    return build_model(config.model.name, config.model.layers, config.data.image_shape, len(config.data.classes))


def layers(config: Train) -> dict[str, Any]:
    return {layer.name: plain(layer.get_config()) for layer in build(config).layers}


def test_every_optimizer_of_conf_is_pinned() -> None:
    assert set(PINNED["optimizers"]) == {file.stem for file in (paths.CONF / "optimizer").glob("*.yaml")}


@pytest.mark.parametrize("name", PINNED["optimizers"])
def test_an_optimizer_resolves_to_the_pinned_values(name: str) -> None:
    assert optimizer(name) == PINNED["optimizers"][name], ADVICE


def test_every_model_of_conf_is_pinned() -> None:
    assert set(PINNED["models"]) == {file.stem for file in (paths.CONF / "model").glob("*.yaml")}


@pytest.mark.parametrize("name", PINNED["models"])
def test_the_layers_of_a_model_resolve_to_the_pinned_values(name: str) -> None:
    assert layers(resolve(Train, compose("train", [f"model={name}"]))) == PINNED["models"][name], ADVICE


def test_the_loss_is_the_mean_of_minus_the_logarithm_of_the_true_class(train_config: Train) -> None:
    # -ln 0.75 and -ln 0.5: neither smoothed, nor taken as logits
    loss = keras.losses.get(train_config.training.loss)
    found = loss(np.array([[0, 1], [1, 0]]), np.array([[0.25, 0.75], [0.5, 0.5]]))
    np.testing.assert_allclose(found, [0.287682, 0.693147], rtol=1e-5)


def test_the_model_has_1199882_parameters(train_config: Train) -> None:
    assert build(train_config).count_params() == 1_199_882
