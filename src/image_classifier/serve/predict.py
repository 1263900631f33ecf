"""Predictions for picture files."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from image_classifier.dataset import scale_pixels
from image_classifier.errors import InputError
from image_classifier.evaluate.calibration import UNCALIBRATED, Calibration
from image_classifier.fetch.picture_lists import is_visible, picture_suffixes
from image_classifier.fetch.pictures import PictureTask

if TYPE_CHECKING:
    import keras

RANKS = ("", "second_", "third_")
COLUMNS = ["picture", *(f"{rank}{value}" for rank in RANKS for value in ("class", "probability"))]
ANSWER = "answer"  # column of a model that has a threshold
NOT_SURE = "not sure"
MAX_SHOWN = 100  # pictures in one figure


def find_pictures(arguments: Iterable[str]) -> list[Path]:
    """Return files and, sorted, the pictures in folders and their subfolders, without hidden files.

    A folder without pictures is returned itself.
    """
    found: list[Path] = []
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            suffixes = picture_suffixes()
            files = sorted(file for file in path.rglob("*") if file.suffix.lower() in suffixes)
            found += [file for file in files if all(map(is_visible, file.relative_to(path).parts))] or [path]
        else:
            found.append(path)
    return list(dict.fromkeys(found))


def convert_pictures(files: Sequence[Path], task: PictureTask) -> tuple[dict[Path, np.ndarray], list[str]]:
    """Convert pictures to images.

    Returns:
        The image that the model receives of each readable picture, uint8, (height, width, channels), and a line about
        each other file.
    """
    images = {}
    problems = []
    for file in files:
        try:
            if file.is_dir():
                raise InputError("the folder has no pictures")
            images[file] = task.convert(file)
        except FileNotFoundError:
            problems.append(f"{file}: no such file.")
        except InputError as error:
            problems.append(f"{file}: {error}.")
    return images, problems


def predict_pictures(
    model: "keras.Model",
    images: dict[Path, np.ndarray],
    classes: Sequence[str],
    calibration: Calibration = UNCALIBRATED,
) -> pd.DataFrame:
    """Classify images.

    Args:
        model: Model from images to class probabilities.
        images: Image of each picture, at least one, uint8, (height, width, channels).
        classes: Names of the classes.
        calibration: Temperature of the probabilities, and threshold of the answers.

    Returns:
        Columns `COLUMNS`: the three most probable classes of each picture and their probabilities, 0 to 1. With two
        classes, the third ones are empty. If the calibration has a threshold, the second column is `ANSWER`: the most
        probable class, or `NOT_SURE`.
    """
    probabilities = calibration.apply(model.predict(scale_pixels(np.stack(list(images.values()))), verbose=0))
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, : len(RANKS)]
    rows = [
        [str(file), *(value for label in labels for value in (classes[label], float(scores[label])))]
        for file, labels, scores in zip(images, best, probabilities, strict=True)
    ]
    table = pd.DataFrame(rows, columns=COLUMNS[: len(rows[0])]).reindex(columns=COLUMNS)
    sure = calibration.is_sure(probabilities)
    if sure is not None:
        table.insert(1, ANSWER, table["class"].where(sure, NOT_SURE))
    return table


def draw_pictures(images: dict[Path, np.ndarray], predictions: pd.DataFrame) -> Figure:
    """Draw the images that the model received, at most `MAX_SHOWN`, with their names and predictions."""
    shown = predictions.head(MAX_SHOWN)
    columns = min(10, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure = Figure(figsize=(1.5 * columns, 1.9 * rows), layout="constrained")
    grid = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, (file, image), prediction in zip(grid, images.items(), shown.to_dict("records"), strict=False):
        axes.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255)
        doubt = "?" if prediction.get(ANSWER) == NOT_SURE else ""
        axes.set_title(f"{file.name[-18:]}\n{prediction['class']}{doubt} ({prediction['probability']:.1%})", fontsize=8)
    return figure
