from pathlib import Path
from xml.etree import ElementTree

import keras
import pytest

from image_classifier.config.compose import compose, resolve
from image_classifier.config.schema import Train
from image_classifier.diagram.drawing import draw_model, draw_models
from image_classifier.train.model import build_model


def build(config: Train) -> keras.Sequential:
    return build_model(config.model.name, config.model.layers, config.data.image_shape, len(config.data.classes))


@pytest.fixture(scope="module")
def drawings(train_config: Train) -> list[bytes]:
    return [draw_model(build(train_config), "svg") for _ in range(2)]


def test_the_drawing_shows_names_shapes_and_activations(drawings: list[bytes]) -> None:
    text = " ".join(ElementTree.fromstring(drawings[0]).itertext())
    for shown in ("convolution_1", "(None, 26, 26, 32)", "relu", "probabilities", "(None, 10)", "softmax"):
        assert shown in text


def test_two_models_with_the_same_layers_give_the_same_bytes(drawings: list[bytes]) -> None:
    assert drawings[0] == drawings[1]


def test_a_png_is_drawn_without_a_system_package(train_config: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert draw_model(build(train_config), "png").startswith(b"\x89PNG")


def test_each_model_is_drawn_once_for_each_data_set(train_config: Train, tmp_path: Path) -> None:
    slower = train_config.model_copy(update={"run": "slower", "epochs": 20})
    letters = resolve(Train, compose("train", ["data.name=letters", "data.classes=[a,b,c]"]))
    assert draw_models([train_config, slower, letters], tmp_path) == [
        "cnn for mnist has 1,199,882 parameters",
        "cnn for letters has 1,198,979 parameters",
    ]
    names = {f"cnn_{data}.{suffix}" for data in ("mnist", "letters") for suffix in ("png", "svg", "txt")}
    assert {file.name for file in tmp_path.iterdir()} == names
    assert "1,198,979" in (tmp_path / "cnn_letters.txt").read_text(encoding="utf-8")
    assert "(None, 3)" in (tmp_path / "cnn_letters.svg").read_text(encoding="utf-8")
