"""The network, made from conf/model/."""

from typing import Any

import keras
from hydra.errors import HydraException
from hydra.utils import instantiate

from image_classifier.errors import InputError


def build_model(
    name: str,
    layers: list[dict[str, Any]],
    image_shape: tuple[int, ...],
    classes: int,
    precision: str = "float32",
) -> keras.Sequential:
    """Build a model whose weights depend on `keras.utils.set_random_seed`.

    Args:
        name: Name of the model.
        layers: Layers in Hydra's form (`_target_` and arguments), from the images (float32, (n, height, width,
            channels), in [0, 1]) to the class probabilities (float32, (n, classes)).
        image_shape: Height and width in pixels, and number of channels.
        classes: Number of classes.
        precision: Name of a Keras dtype policy. Each layer without a dtype of its own receives it as an argument: the
            global policy, which `keras.utils.clear_session` resets, has no influence.

    Raises:
        InputError: Keras does not have a layer or refuses its arguments, or the output has another number of classes.
    """
    model = keras.Sequential([keras.Input(image_shape, name="images")], name=name)
    for layer in layers:
        try:
            model.add(instantiate({"dtype": precision, **layer}, _convert_="all"))
        except (HydraException, TypeError, ValueError) as error:
            raise InputError(f"conf/model/{name}.yaml: Keras refuses layer {layer}: {keras_reason(error)}") from error
    if model.output_shape != (None, classes):
        raise InputError(f"conf/model/{name}.yaml: the output has shape {model.output_shape}, not (None, {classes}).")
    return model


def keras_reason(error: BaseException) -> str:
    """Return in one line why Keras refused an object that Hydra instantiated."""
    return " ".join(str(error.__cause__ or error).split())
