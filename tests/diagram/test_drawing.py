from xml.etree import ElementTree

import pytest

from image_classifier.config.schema import Train
from image_classifier.diagram.drawing import draw_model
from image_classifier.train.model import build_model


@pytest.fixture(scope="module")
def drawings(train_config: Train) -> list[bytes]:
    return [draw_model(build_model(**train_config.model.model_dump()), "svg") for _ in range(2)]


def test_the_drawing_shows_names_shapes_and_activations(drawings: list[bytes]) -> None:
    text = " ".join(ElementTree.fromstring(drawings[0]).itertext())
    for shown in ("convolution_1", "(None, 26, 26, 32)", "relu", "probabilities", "(None, 10)", "softmax"):
        assert shown in text


def test_two_models_with_the_same_layers_give_the_same_bytes(drawings: list[bytes]) -> None:
    assert drawings[0] == drawings[1]


def test_a_png_is_drawn_without_a_system_package(train_config: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    model = build_model(**train_config.model.model_dump())
    assert draw_model(model, "png").startswith(b"\x89PNG")
