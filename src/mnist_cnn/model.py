"""The convolutional network."""

from typing import Any

import keras

from mnist_cnn.dataset import CLASSES
from mnist_cnn.errors import InputError

INPUT_SHAPE = (28, 28, 1)


def build(name: str, layers: list[dict[str, Any]], precision: str = "float32") -> keras.Sequential:
    """Build a model from layers in Keras' own form; its weights follow `keras.utils.set_random_seed`.

    Args:
        name: of the model.
        layers: `{"class_name": ..., "config": ...}` each, from the images (float32, (n, 28, 28, 1), in [0, 1]) to the
            class probabilities (float32, (n, 10)).
        precision: the name of a Keras dtype policy, for the layers that have no dtype of their own. Each layer gets it:
            the global policy, which `keras.utils.clear_session` resets, decides nothing.

    Raises:
        InputError: Keras does not know a layer or refuses its configuration, or the layers do not end in 10 classes.
    """
    model = keras.Sequential([keras.Input(INPUT_SHAPE, name="images")], name=name)
    for layer in layers:
        try:
            config = {"dtype": precision, **layer["config"]}
            model.add(keras.saving.deserialize_keras_object({"module": "keras.layers", **layer, "config": config}))
        except (TypeError, ValueError) as error:
            raise InputError(
                f"conf/model/{name}.yaml: Keras refuses layer {layer}: {' '.join(str(error).split())}"
            ) from error
    if model.output_shape != (None, CLASSES):
        raise InputError(f"conf/model/{name}.yaml: the output has shape {model.output_shape}, not (None, {CLASSES}).")
    return model


def summary(model: keras.Model) -> str:
    """Return Keras' table of layers, output shapes and parameter counts."""
    lines: list[str] = []
    model.summary(print_fn=lines.append)
    return "\n".join(lines) + "\n"
