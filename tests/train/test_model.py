from typing import Any

import keras
import pytest

from image_classifier.config.compose import compose, resolve
from image_classifier.config.schema import Train
from image_classifier.diagram.drawing import model_summary
from image_classifier.errors import InputError
from image_classifier.train.model import build_model


def build(config: Train, **arguments: str) -> keras.Sequential:
    data = config.data
    return build_model(config.model.name, config.model.layers, data.image_shape, len(data.classes), **arguments)


def test_the_network_has_the_notebook_s_layers_and_1_199_882_parameters(train_config: Train) -> None:
    model = build(train_config)
    assert model.count_params() == 1_199_882
    assert [layer.output.shape[1:] for layer in model.layers] == [
        (26, 26, 32),
        (24, 24, 64),
        (12, 12, 64),
        (12, 12, 64),
        (9216,),
        (128,),
        (128,),
        (10,),
    ]


def test_every_layer_except_the_probabilities_has_the_precision(train_config: Train) -> None:
    model = build(train_config, precision="mixed_bfloat16")
    assert {layer.compute_dtype for layer in model.layers[:-1]} == {"bfloat16"}
    assert model.layers[-1].compute_dtype == "float32"
    assert {weight.dtype for weight in model.weights if "seed" not in weight.path} == {"float32"}


def test_the_summary_names_each_layer_and_the_parameters(train_config: Train) -> None:
    model = build(train_config)
    text = model_summary(model)
    assert "1,199,882" in text
    assert all(layer.name in text for layer in model.layers)


def test_images_and_classes_of_the_data_set_decide_the_first_and_the_last_shape() -> None:
    data = compose("train", ["model=cnn", "data.classes=[cat,dog,cow]", "data.image_size=[20,30]", "data.color=rgb"])
    data.data.fit = "pad"
    model = build(resolve(Train, data))
    assert (model.input_shape, model.output_shape) == ((None, 20, 30, 3), (None, 3))


def test_a_model_that_does_not_end_in_the_classes_is_refused() -> None:
    layers: list[dict[str, Any]] = [
        {"_target_": "keras.layers.Flatten"},
        {"_target_": "keras.layers.Dense", "units": 11},
    ]
    with pytest.raises(
        InputError, match=r"^conf/model/mine\.yaml: the output has shape \(None, 11\), not \(None, 10\)"
    ):
        build_model("mine", layers, (28, 28, 1), 10)


@pytest.mark.parametrize("layer", [{"_target_": "keras.layers.Con2D"}, {"_target_": "keras.layers.Dense", "unit": 3}])
def test_a_layer_that_keras_refuses_is_named_with_its_file(layer: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"^conf/model/mine\.yaml: Keras refuses layer .*(Con2D|unit)"):
        build_model("mine", [layer], (28, 28, 1), 10)
