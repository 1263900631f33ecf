"""Suspect labels: training labels that cross-validation contradicts, and test labels that all runs contradict."""

import logging
import math
import sys
from collections.abc import Callable, Mapping
from typing import cast

import keras
import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues
from matplotlib.figure import Figure
from sklearn.model_selection import StratifiedKFold

from image_classifier import paths
from image_classifier.audit.disputed_labels import DISPUTE_PROBABILITY, find_disputed
from image_classifier.audit.findings import format_rows
from image_classifier.audit.pictures import Pictures
from image_classifier.audit.plots import COLUMNS, Example, plot_rows
from image_classifier.config.compose import compose, load_data, load_params, resolve
from image_classifier.config.lookup import check_prepared_data, select_runs
from image_classifier.config.schema import Train
from image_classifier.dataset import Examples, load_examples, read_arrays
from image_classifier.determinism import set_seed_and_threads
from image_classifier.errors import InputError
from image_classifier.evaluate.metrics import predict
from image_classifier.files import write_figure, write_text
from image_classifier.prepare.picture_names import read_picture_names
from image_classifier.train.loop import fit
from image_classifier.train.model import build_model
from image_classifier.train.optimizer import build_optimizer

MAX_ROWS = 50  # rows of a list; the page gives the number of all
ROWS = 4  # rows of training images in the figure, and as many rows of test images
PAGE = """\
# Suspect labels of {data}

`train 5: cat` is the training image at position 5 of `data/prepared/{data}/train_images.npy`, counted from 0, and its
label.

## Training labels

The configuration of `{run}` was trained {folds} times, each time without another one of {folds} parts of the
{training:,} training images, and classified this part. {accuracy:.2%} of these predictions agree with the labels.
Confident learning (Northcutt, Jiang and Chuang, 2021, arXiv:1911.00068; the method "prune by noise rate" of cleanlab)
estimates from them how many labels of each class are wrong, and chooses the images whose predictions contradict their
labels most.
**{suspects:,} training labels are suspect.** The least probable label comes first.

{training_table}

![Suspect training labels, and disputed test labels](labels_{data}.png)

## Test labels

A test label is disputed if all runs of the data set with predictions for the current test images ({runs}) choose the
same other class, each with a probability of at least {probability:g}. **{disputed:,} of {test:,} test labels are
disputed.**

{test_table}

{accuracy_table}

## Interpretation

- A suspect label is a reason to look at the picture. It is not a proof: networks also contradict correct labels of
  unusual, ambiguous or poorly drawn pictures. The runs share their training images, so they also share mistakes.
- Labels that are wrong in the same way in many pictures are not found, because the networks learn them.
- All runs are wrong about a disputed label. Without these images the accuracy of every run is therefore higher, and the
  difference between two runs in the number of errors is the same. The value is no better estimate of the true
  accuracy.
- Do not choose between runs, or change the test labels, by this list alone.
"""


class _Selection:
    """Images at some positions of a memory-mapped array, which are read when they are used."""

    def __init__(self, images: np.ndarray, positions: np.ndarray) -> None:
        self._images, self._positions = images, positions
        self.shape = (len(positions), *images.shape[1:])

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, chosen: np.ndarray | slice) -> np.ndarray:
        images: np.ndarray = self._images[self._positions[chosen]]
        return images


def audit_labels(data: str, run: str | None, folds: int, seed: int) -> str:
    """Write reports/labels_DATA.md and .png, and return a summary.

    Args:
        data: Name of the data set.
        run: Row of params.yaml whose configuration is trained; None stands for the first one of the data set.
        folds: Number of trainings, each without another part of the training images, at least 2.
        seed: Chooses the parts, and is the seed of each training.

    Raises:
        FileNotFoundError: The prepared data set is missing.
        InputError: There is no such data set or run, or a class has fewer training images than there are folds.
    """
    table = select_runs(load_params().runs, data)
    run = run or next(iter(table))
    if run not in table:
        raise InputError(f"run={run} is not a run of {data} in params.yaml. Choose one of: {', '.join(table)}.")
    overrides = [*table[run].overrides(run), "validation=final_test", f"training.seed={seed}"]
    config = resolve(Train, compose("train", overrides))
    description = load_data(data)
    check_prepared_data(description)
    training, test = (load_examples(paths.prepared_data(data), part) for part in ("train", "test"))
    set_seed_and_threads(config.training.seed, config.training.intra_op_threads)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns that each fold traces a network of its own
    probabilities = cross_validate(training, config, folds, _print_progress)
    suspects = find_suspects(training.labels, probabilities)
    predictions = read_predictions(data, list(table), test)
    disputed = find_disputed(test.labels, predictions)
    names = read_picture_names(description)
    pictures = Pictures(training, test, [*names["train"], *names["test"]])
    page = PAGE.format(
        data=data,
        run=run,
        folds=folds,
        training=len(training),
        accuracy=(probabilities.argmax(axis=1) == training.labels).mean(),
        suspects=len(suspects),
        training_table=_suspects_table(pictures, suspects, probabilities),
        runs=", ".join(f"`{name}`" for name in predictions) or "none",
        probability=DISPUTE_PROBABILITY,
        disputed=len(disputed),
        test=len(test),
        test_table=_disputed_table(pictures, disputed),
        accuracy_table=_accuracy_table(test.labels, predictions, disputed.index.to_numpy()),
    )
    write_text(paths.labels(data, "md"), page)
    write_figure(paths.labels(data, "png"), plot_labels(data, pictures, suspects, probabilities, disputed))
    written = paths.labels(data, "md").relative_to(paths.ROOT)
    return f"{written}: {len(suspects):,} suspect training labels, {len(disputed):,} disputed test labels"


def _print_progress(fold: int, folds: int, epoch: int, epochs: int) -> None:
    print(f"fold {fold} of {folds}, epoch {epoch} of {epochs}", file=sys.stderr, flush=True)


def cross_validate(
    examples: Examples, config: Train, folds: int, progress: Callable[[int, int, int, int], None]
) -> np.ndarray:
    """Return the class probabilities that networks predict for images that they were not trained on.

    Args:
        examples: Images and labels, n.
        config: Configuration of each training; `validation` should be final_test. Its seed also chooses the parts.
        folds: Number of trainings, each without another part of the images with all classes.
        progress: Receives fold, folds, epoch and epochs after each epoch.

    Returns:
        float32, (n, classes); each row sums to 1.

    Raises:
        InputError: A class has fewer images than there are folds, or a training failed.
    """
    counts = np.bincount(examples.labels, minlength=len(examples.classes))
    if counts.min() < folds:
        raise InputError(
            f"--folds {folds}: the class {examples.classes[counts.argmin()]} has only {counts.min()} "
            f"training images. {'Lower folds' if counts.min() > 1 else 'Add pictures'}."
        )
    probabilities = np.empty((len(examples), len(examples.classes)), np.float32)
    splitter = StratifiedKFold(folds, shuffle=True, random_state=config.training.seed)
    for fold, parts in enumerate(splitter.split(examples.labels, examples.labels), 1):
        training, held_out = (
            Examples(cast(np.ndarray, _Selection(examples.images, part)), examples.labels[part], examples.classes)
            for part in parts
        )
        keras.backend.clear_session()
        keras.utils.set_random_seed(config.training.seed)
        shape, model = examples.images.shape[1:], config.model
        network = build_model(model.name, model.layers, shape, len(examples.classes), config.training.precision)
        optimizer = build_optimizer(config.optimizer, config.epochs * math.ceil(len(training) / config.batch_size))

        def on_epoch(epoch: int, _values: dict[str, float], fold: int = fold) -> None:
            progress(fold, folds, epoch, config.epochs)

        fit(network, optimizer, training, held_out, config, on_epoch=on_epoch, verbose=0)
        probabilities[parts[1]] = predict(network, held_out.images, config.training.validation_batch_size)
    return probabilities


def find_suspects(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the positions of labels that confident learning rejects, int64, the least probable label first.

    Args:
        labels: (n,), positions of classes.
        probabilities: Predictions for images that the networks were not trained on, (n, classes).
    """
    suspects: np.ndarray = find_label_issues(
        labels.astype(np.int64),
        probabilities.astype(np.float64),
        filter_by="prune_by_noise_rate",
        return_indices_ranked_by="self_confidence",
        n_jobs=1,
    )
    return suspects


def read_predictions(data: str, runs: list[str], test: Examples) -> dict[str, np.ndarray]:
    """Return the recorded class probabilities of each run, (n, classes), that has them for the current test images."""
    found = {}
    for run in runs:
        file = paths.pipeline_run(data, run).predictions
        if file.exists():
            probabilities, labels = read_arrays(file, ("probabilities", "labels")).values()
            if np.array_equal(labels, test.labels) and probabilities.shape == (len(test), len(test.classes)):
                found[run] = probabilities
    return found


def _suspects_table(pictures: Pictures, suspects: np.ndarray, probabilities: np.ndarray) -> str:
    rows = [
        {
            "picture": f"`{pictures.identify(position)}`",
            "probability of the label": f"{probabilities[position, pictures.labels[position]]:.4f}",
            "network's class": f"`{pictures.classes[probabilities[position].argmax()]}`",
            "its probability": f"{probabilities[position].max():.4f}",
        }
        for position in suspects[:MAX_ROWS]
    ]
    return format_rows(rows, len(suspects))


def _disputed_table(pictures: Pictures, disputed: pd.DataFrame) -> str:
    rows = [
        {
            "picture": f"`{pictures.identify(len(pictures.training) + row.Index)}`",
            "class of all runs": f"`{pictures.classes[int(row.other)]}`",
            "lowest probability": f"{row.probability:.4f}",
        }
        for row in disputed.head(MAX_ROWS).itertuples()
    ]
    return format_rows(rows, len(disputed))


def _accuracy_table(labels: np.ndarray, predictions: Mapping[str, np.ndarray], disputed: np.ndarray) -> str:
    rows = []
    for run, probabilities in predictions.items():
        correct = probabilities.argmax(axis=1) == labels
        rows.append(
            {
                "run": f"`{run}`",
                "test accuracy as labelled": f"{correct.mean():.2%}",
                "without disputed labels": f"{np.delete(correct, disputed).mean():.2%}",
                "errors": f"{np.count_nonzero(~correct):,}",
                "of which disputed": f"{len(disputed):,}",
            }
        )
    return format_rows(rows, len(rows)) or "No run has predictions for the current test images: `dvc repro` makes them."


def plot_labels(
    data: str, pictures: Pictures, suspects: np.ndarray, probabilities: np.ndarray, disputed: pd.DataFrame
) -> Figure:
    """Draw the first suspect training images and disputed test images with their label and the other class."""
    training: list[Example] = [
        (
            (position,),
            _describe_choice(pictures, probabilities[position].argmax(), probabilities[position].max()),
            False,
        )
        for position in suspects[: COLUMNS * ROWS]
    ]
    test: list[Example] = [
        ((len(pictures.training) + row.Index,), _describe_choice(pictures, int(row.other), row.probability), False)
        for row in disputed.head(COLUMNS * ROWS).itertuples()
    ]
    rows = []
    for title, examples in (
        (f"Suspect training labels ({len(suspects):,})", training),
        (f"Disputed test labels ({len(disputed):,})", test),
    ):
        for first in range(0, len(examples), COLUMNS):
            rows.append(("" if first else title, examples[first : first + COLUMNS]))
    return plot_rows(f"Suspect labels of {data}", pictures, rows)


def _describe_choice(pictures: Pictures, other: int, probability: float) -> str:
    return f"network: {pictures.classes[other]} ({probability:.1%})"
