"""Predictions for the test images: probabilities of a run, and mistakes of replicates."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from image_classifier.compare.seeds import KEY, UNKNOWN
from image_classifier.dataset import Examples, read_arrays
from image_classifier.errors import InputError
from image_classifier.files import translate_damage

COLUMNS = [*KEY, "images", "mistakes"]


def read_probabilities(path: Path, test: Examples) -> np.ndarray:
    """Read the class probabilities of an evaluated run for the test images, (n, classes).

    Raises:
        FileNotFoundError: The file does not exist.
        InputError: The file is damaged, or has predictions for other test images.
    """
    with translate_damage(path):
        probabilities, labels = read_arrays(path, ("probabilities", "labels")).values()
        if not np.array_equal(labels, test.labels):
            raise InputError(f"{path} and data/prepared/ have other test images. Type: dvc repro")
        if probabilities.shape != (len(test), len(test.classes)):
            raise ValueError(f"its probabilities have the shape {probabilities.shape}")
    return probabilities


def read_mistakes(path: Path) -> pd.DataFrame:
    """Read a file of predictions: columns `COLUMNS`, one row for each run and seed.

    Raises:
        FileNotFoundError: The file does not exist.
        InputError: A column is missing, or a value is not a number.
    """
    types = dict.fromkeys(COLUMNS, str) | {"seed": int, "images": int}
    with translate_damage(path):
        return pd.read_csv(path, usecols=COLUMNS, dtype=types, keep_default_na=False)[COLUMNS]


def encode_mistakes(predicted: np.ndarray, labels: np.ndarray) -> str:
    """Return the wrongly classified images as a text: position, colon and predicted class of each, between spaces.

    Args:
        predicted: Predicted class of each test image, (n,).
        labels: Label of each test image, (n,).
    """
    return " ".join(f"{image}:{predicted[image]}" for image in np.flatnonzero(predicted != labels))


def decode_mistakes(mistakes: str, labels: np.ndarray) -> np.ndarray:
    """Return the predicted class of each test image, (n,), from `encode_mistakes`.

    Raises:
        IndexError, ValueError: The text is not a list of mistakes for these labels.
    """
    predicted = labels.copy()
    for mistake in mistakes.split():
        image, label = map(int, mistake.split(":"))
        predicted[image] = label
    return predicted


def merge_predictions(parts: Sequence[pd.DataFrame], histories: pd.DataFrame) -> pd.DataFrame:
    """Merge tables of predictions, and drop the predictions of seeds that a table of replicates does not have.

    Args:
        parts: Tables with the columns `COLUMNS`, the newest last.
        histories: Replicates, columns `seeds.COLUMNS`.
    """
    merged = pd.concat(parts).drop_duplicates(KEY, keep="last")
    return merged.merge(histories[KEY].drop_duplicates()).sort_values(KEY)[COLUMNS]


def correct_images(replicates: Mapping[str, pd.DataFrame], path: Path, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Return whether each seed of a run classifies each test image correctly: bool, (seeds, n).

    Runs are left out if a seed has no predictions, because all columns of a comparison are about the same seeds.

    Args:
        replicates: Selected replicates of each run, columns `seeds.COLUMNS`.
        path: File of predictions.
        labels: Label of each test image, (n,).

    Raises:
        FileNotFoundError: The file does not exist.
        InputError: The file is damaged, or has predictions for other images.
    """
    seed_key = KEY[1:]  # rows of params.yaml can share a recipe
    stored = read_mistakes(path).drop_duplicates(seed_key)
    correct = {}
    with translate_damage(path):
        for run, histories in replicates.items():
            seeds = histories[seed_key].drop_duplicates()
            rows = seeds.merge(stored)
            if not rows["images"].isin([len(labels)]).all():
                raise ValueError(f"the predictions of {run} are not for {len(labels)} images")
            if len(rows) == len(seeds):
                correct[run] = np.array([decode_mistakes(text, labels) == labels for text in rows["mistakes"]])
    return correct


def format_missing(replicates: Mapping[str, pd.DataFrame], correct: Mapping[str, np.ndarray]) -> str:
    """Return a sentence about the runs whose seeds lack predictions, with the command that adds them, or "".

    Args:
        replicates: Selected replicates of each run, columns `seeds.COLUMNS`.
        correct: Result of `correct_images`.
    """
    missing = [run for run in replicates if run not in correct]
    if not missing:
        return ""
    # Training again gives seeds in a known environment. `select_replicates` prefers the environment that most runs
    # share, so if the present seeds are of an unknown one, all runs need new seeds.
    is_known = all((replicates[run]["environment"] != UNKNOWN).all() for run in missing)
    to_train = missing if is_known else list(replicates)
    seeds = max(replicates[run]["seed"].max() for run in to_train)
    rows = dict.fromkeys(
        replicates[run]["run"].iloc[0] for run in to_train
    )  # a run can be an MLflow run of this recipe
    command = f"`image-classifier replicate {' '.join(rows)} --seeds {seeds}`"
    names = ", ".join(missing)
    return f"The interval for other test images needs predictions, which the seeds of {names} lack. Add them: {command}"
