"""Diagrams and summary tables of models."""

import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import keras

from image_classifier import paths
from image_classifier.train.model import build_model

if TYPE_CHECKING:
    from image_classifier.config.schema import Train

# Graphviz compiled to a Python wheel: no system package, the same bytes on every platform.
LAYOUT_PROGRAM = str(Path(sysconfig.get_path("scripts")) / "graphviz-pure")


def draw_models(configurations: Iterable["Train"], folder: Path) -> list[str]:
    """Draw each model of some trainings once for each data set, and write the tables of its layers.

    Args:
        configurations: Configurations of the trainings.
        folder: Folder that receives the files with the names of `paths.model_diagrams`.

    Returns:
        A description of each model.

    Raises:
        InputError: Keras refuses a model.
    """
    described = []
    for model, data in {(c.model.name, c.data.name): (c.model, c.data) for c in configurations}.values():
        built = build_model(model.name, model.layers, data.image_shape, len(data.classes))
        *drawings, table = paths.model_diagrams(model.name, data.name)
        for drawing in drawings:
            (folder / drawing.name).write_bytes(draw_model(built, drawing.suffix.removeprefix(".")))
        (folder / table.name).write_text(model_summary(built), encoding="utf-8")
        described.append(f"{model.name} for {data.name} has {built.count_params():,} parameters")
    return described


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
