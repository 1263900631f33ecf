"""The page with all mistakes: one HTML file that needs no other file and no connection."""

import json
import math
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from io import BytesIO
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from tqdm import tqdm

from image_classifier.audit.disputed_labels import DISPUTE_PROBABILITY, find_disputed
from image_classifier.dataset import Examples
from image_classifier.error_browser.occlusion import BATCH_SIZE, CELLS, occlusion_maps

if TYPE_CHECKING:
    import keras

MAX_BYTES = 4_500_000  # size of the pictures and numbers in the page
COLUMNS = 50  # pictures in a row of the atlas, one image with all pictures side by side
BYTES_PER_ANSWER = 110  # greatest size of an answer with its occlusion map in JSON
DATA_MARKER = "{{DATA}}"


def make_page(
    data: str,
    test: Examples,
    probabilities: Mapping[str, np.ndarray],
    models: Iterable[tuple[str, "keras.Model"]],
    names: Sequence[str],
) -> tuple[str, int, int]:
    """Make the page of a data set's mistakes.

    Args:
        data: Name of the data set.
        test: Test images.
        probabilities: Class probabilities that each run predicts for them, (n, classes).
        models: Model of each run, in the same order.
        names: File of each test image, or nothing if they have no files.

    Returns:
        The HTML page, the number of images that it shows, and the number of images that a run classifies wrongly. The
        page leaves out images so that it stays below 5 MB.
    """
    indexes = rank_misclassified(test.labels, probabilities)
    images = test.images[indexes]
    atlas, count = make_atlas(images, len(probabilities) + bool(names))  # a name takes less space than an answer
    shown = indexes[:count]
    answers = {}
    for run, model in models:
        predicted = probabilities[run][shown]
        batches = occlusion_maps(model, images[:count], predicted.argmax(axis=1))
        progress = tqdm(batches, f"Occlusion maps of {run}", math.ceil(count / BATCH_SIZE), unit="batch", disable=None)
        answers[run] = _answers(predicted, test.labels[shown], chain.from_iterable(progress))
    values = {
        "data": data,
        "classes": test.classes,
        "aspect": images.shape[2] / images.shape[1],
        "columns": COLUMNS,
        "atlas": f"data:image/png;base64,{b64encode(atlas).decode()}",
        "tests": len(test.labels),
        "mistakes": len(indexes),
        "accuracies": {
            run: float((predicted.argmax(axis=1) == test.labels).mean()) for run, predicted in probabilities.items()
        },
        "indexes": shown.tolist(),
        "labels": test.labels[shown].tolist(),
        "names": [names[position] for position in shown] if names else [],
        "answers": answers,
        "cells": CELLS,
        "disputed": np.isin(shown, find_disputed(test.labels, probabilities).index).tolist(),
        "disputeProbability": DISPUTE_PROBABILITY,
    }
    template = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    return template.replace(DATA_MARKER, _to_json(values)), count, len(indexes)


def rank_misclassified(labels: np.ndarray, probabilities: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the positions of the images that a run classifies wrongly, (n,).

    The images that most runs classify wrongly are first, then those with the least probability of the true class.

    Args:
        labels: True classes of the test images.
        probabilities: Class probabilities that each run predicts, (test images, classes).
    """
    stacked = np.stack(list(probabilities.values()))
    num_wrong = (stacked.argmax(axis=2) != labels).sum(axis=0)
    true_class = np.mean([predicted[np.arange(len(labels)), labels] for predicted in stacked], axis=0)
    return np.lexsort((true_class, -num_wrong))[: np.count_nonzero(num_wrong)]


def make_atlas(images: np.ndarray, entries: int) -> tuple[bytes, int]:
    """Return one PNG file with as many of the first images as the page has space for, and their number.

    Args:
        images: uint8, (n, height, width, channels).
        entries: Number of answers and names for each image, which need space as well.
    """
    count = len(images)
    while True:
        rows = max(1, math.ceil(count / COLUMNS))
        height, width, channels = images.shape[1:]
        cells = np.zeros((rows * COLUMNS, height, width, channels), np.uint8)
        cells[:count] = images[:count]
        tiled = cells.reshape(rows, COLUMNS, height, width, channels).swapaxes(1, 2)
        file = BytesIO()
        Image.fromarray(
            tiled.reshape(rows * height, COLUMNS * width, channels).squeeze(-1 if channels == 1 else ())
        ).save(file, "png", optimize=True)
        size = len(file.getbuffer()) * 4 / 3 + count * entries * BYTES_PER_ANSWER
        if size <= MAX_BYTES:
            return file.getvalue(), count
        count = int(0.95 * count * MAX_BYTES / size)


def _answers(
    probabilities: np.ndarray, labels: np.ndarray, maps: Iterable[np.ndarray]
) -> list[list[int | float | str]]:
    """Return answer, its probability, the probability of the true class, and the occlusion map of each image."""
    return [
        [
            int(row.argmax()),
            round(float(row.max()), 4),
            round(float(row[label]), 4),
            b64encode(np.round(255 * lost).astype(np.uint8).tobytes()).decode(),
        ]
        for row, label, lost in zip(probabilities, labels, maps, strict=True)
    ]


def _to_json(values: object) -> str:
    """Return JSON that cannot end the script element around it."""
    return json.dumps(values, separators=(",", ":")).replace("<", "\\u003c")
