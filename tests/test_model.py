import pytest

from mnist_cnn import model
from mnist_cnn.errors import InputError
from mnist_cnn.schema import Train


def test_the_network_has_the_notebook_s_layers_and_1_199_882_parameters(train_config: Train) -> None:
    network = model.build(**train_config.model.model_dump())
    assert network.count_params() == 1_199_882
    assert [layer.output.shape[1:] for layer in network.layers] == [
        (26, 26, 32),
        (24, 24, 64),
        (12, 12, 64),
        (12, 12, 64),
        (9216,),
        (128,),
        (128,),
        (10,),
    ]


def test_a_precision_is_that_of_every_layer_but_of_the_probabilities(train_config: Train) -> None:
    network = model.build(**train_config.model.model_dump(), precision="mixed_bfloat16")
    assert {layer.compute_dtype for layer in network.layers[:-1]} == {"bfloat16"}
    assert network.layers[-1].compute_dtype == "float32"
    assert {weight.dtype for weight in network.weights if "seed" not in weight.path} == {"float32"}


def test_the_summary_names_each_layer_and_the_parameters(train_config: Train) -> None:
    network = model.build(**train_config.model.model_dump())
    text = model.summary(network)
    assert "1,199,882" in text
    assert all(layer.name in text for layer in network.layers)


def test_a_model_that_does_not_end_in_ten_classes_is_refused() -> None:
    layers = [{"class_name": "Flatten", "config": {}}, {"class_name": "Dense", "config": {"units": 11}}]
    with pytest.raises(
        InputError, match=r"^conf/model/mine\.yaml: the output has shape \(None, 11\), not \(None, 10\)"
    ):
        model.build("mine", layers)


@pytest.mark.parametrize("layer", [{"class_name": "Con2D"}, {"class_name": "Dense", "config": {"unit": 3}}])
def test_a_layer_that_keras_refuses_is_named_with_its_file(layer: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"^conf/model/mine\.yaml: Keras refuses layer .*(Con2D|unit)"):
        model.build("mine", [{"config": {}, **layer}])
