from xml.etree import ElementTree

import pytest

from mnist_cnn import diagram, model
from mnist_cnn.schema import Train


@pytest.fixture(scope="module")
def drawings(train_config: Train) -> list[bytes]:
    layers = train_config.model.model_dump()
    return [diagram.draw(model.build(**layers), "svg") for _ in range(2)]


def test_the_drawing_shows_names_shapes_and_activations(drawings: list[bytes]) -> None:
    text = " ".join(ElementTree.fromstring(drawings[0]).itertext())
    for shown in ("convolution_1", "(None, 26, 26, 32)", "relu", "probabilities", "(None, 10)", "softmax"):
        assert shown in text


def test_two_models_with_the_same_layers_give_the_same_bytes(drawings: list[bytes]) -> None:
    assert drawings[0] == drawings[1]


def test_a_png_is_drawn_without_a_system_package(train_config: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    network = model.build(**train_config.model.model_dump())
    assert diagram.draw(network, "png").startswith(b"\x89PNG")
