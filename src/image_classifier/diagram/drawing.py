"""Diagram and summary table of a model."""

import sysconfig
from pathlib import Path

import keras

# Graphviz compiled to a Python wheel: no system package, the same bytes on every platform.
LAYOUT_PROGRAM = str(Path(sysconfig.get_path("scripts")) / "graphviz-pure")


def draw_model(model: keras.Model, file_format: str) -> bytes:
    """Draw the layers with names, shapes and activations.

    Args:
        model: Built model.
        file_format: "png" or "svg".
    """
    dot = keras.utils.model_to_dot(model, show_shapes=True, show_layer_names=True, show_layer_activations=True, dpi=96)
    drawing: bytes = dot.create(prog=LAYOUT_PROGRAM, format=file_format)
    for layer in model.layers:  # Keras names the nodes by memory address, and an SVG repeats the names
        drawing = drawing.replace(str(id(layer)).encode(), layer.name.encode())
    return drawing


def model_summary(model: keras.Model) -> str:
    """Return Keras' table of layers, output shapes and numbers of parameters."""
    lines: list[str] = []
    model.summary(print_fn=lines.append)
    return "\n".join(lines) + "\n"
