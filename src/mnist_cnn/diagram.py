"""The drawing of the model."""

import sysconfig
from pathlib import Path

import keras

# Graphviz compiled to a Python wheel: no system package, the same bytes on every platform.
LAYOUT_PROGRAM = str(Path(sysconfig.get_path("scripts")) / "graphviz-pure")


def draw(model: keras.Model, file_format: str) -> bytes:
    """Draw the layers with names, shapes and activations.

    Args:
        model: a built model.
        file_format: "png" or "svg".
    """
    dot = keras.utils.model_to_dot(model, show_shapes=True, show_layer_names=True, show_layer_activations=True, dpi=96)
    drawing: bytes = dot.create(prog=LAYOUT_PROGRAM, format=file_format)
    for layer in model.layers:  # Keras names the nodes by memory address, and an SVG repeats the names
        drawing = drawing.replace(str(id(layer)).encode(), layer.name.encode())
    return drawing
