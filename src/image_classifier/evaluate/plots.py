"""Plots of one run. Each function returns a figure and writes nothing."""

import numpy as np
import pandas as pd
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from scipy.stats import binomtest
from sklearn.metrics import ConfusionMatrixDisplay

from image_classifier.dataset import Examples, scale_pixels
from image_classifier.evaluate.calibration import (
    BINS,
    apply_temperature,
    calibration_error,
    confidence_and_correctness,
    find_bins,
)

CURVES = {"loss": "Loss", "accuracy": "Accuracy"}
CORRECT, WRONG = "tab:green", "tab:red"
MAX_NAME_LENGTH = 12  # characters of a class beside an image
NAME_POINTS = 110  # font size times characters that fit beside an image
MAX_NUMBERED_CLASSES = 50  # classes of a confusion matrix with a number in each cell, whose drawing takes long for more


def training_curves(history: pd.DataFrame, metric: str, title: str, validated_on: str) -> Figure:
    """Draw a metric on the training and validation images by epoch.

    Args:
        history: Columns loss and val_loss, or accuracy and val_accuracy (0 to 1); index epoch, from 1.
        metric: Key of `CURVES`.
        title: Title of the figure.
        validated_on: Name of the validation images for the legend.
    """
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(history.index, history[f"val_{metric}"], marker="o", linewidth=2, label=f"Validation = {validated_on}")
    axes.plot(history.index, history[metric], marker="s", linewidth=2, label="Training (dropout, any augmentation)")
    axes.set(xlabel="Epoch", ylabel=CURVES[metric], title=title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if metric == "accuracy":
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axes.grid(visible=True, alpha=0.4)
    axes.legend()
    return figure


def predictions(examples: Examples, probabilities: np.ndarray, seed: int) -> Figure:
    """Draw ten random images and their predicted classes, green if correct and red if wrong.

    Args:
        examples: Test images, n.
        probabilities: Predicted class probabilities, (n, classes).
        seed: Choice of the images.
    """
    count = min(10, len(examples))
    chosen = np.sort(np.random.default_rng(seed).choice(len(examples), count, replace=False))
    return _plot_images(examples, probabilities, chosen, "Ten random test images and their predictions")


def mistakes(examples: Examples, probabilities: np.ndarray) -> Figure:
    """Draw the ten wrong predictions that give the true class the lowest probability.

    Args:
        examples: Test images, n.
        probabilities: Predicted class probabilities, (n, classes).
    """
    labels = examples.labels
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    worst = wrong[np.argsort(probabilities[wrong, labels[wrong]], kind="stable")][:10]
    title = f"The worst of {len(wrong)} errors on {len(labels):,} test images" if len(wrong) else "No errors"
    return _plot_images(examples, probabilities, worst, title)


def _plot_images(examples: Examples, probabilities: np.ndarray, chosen: np.ndarray, title: str) -> Figure:
    """Draw up to ten images with the predicted class and its probability beside each."""
    figure = Figure(figsize=(10, 3.7), layout="constrained")
    grid = figure.subplots(2, 5)
    for axes in grid.flat:
        axes.set_axis_off()
    size = min(34, NAME_POINTS / min(MAX_NAME_LENGTH, max(map(len, examples.classes))))
    for axes, index in zip(grid.flat, chosen, strict=False):  # fewer than ten images leave cells empty
        label, predicted = examples.labels[index], int(probabilities[index].argmax())
        name = _shorten(examples.classes[predicted])
        axes.imshow(scale_pixels(examples.images[index]).squeeze(), cmap="gray", vmin=0, vmax=1)
        truth = "" if predicted == label else f", is a {_shorten(examples.classes[label])}"
        axes.set_title(f"no. {index}{truth}", fontsize=10, loc="left")
        style = {"x": 1.08, "transform": axes.transAxes, "color": CORRECT if predicted == label else WRONG}
        axes.text(y=0.5, s=name, fontsize=size, va="center", **style)
        axes.text(y=0.06, s=f"{probabilities[index, predicted]:.1%}", fontsize=9, **style)
    figure.suptitle(title)
    return figure


def _shorten(name: str) -> str:
    """Cut the end of a name that is longer than its place beside an image."""
    return name if len(name) <= MAX_NAME_LENGTH else f"{name[: MAX_NAME_LENGTH - 1]}…"


def confusion_matrix(examples: Examples, probabilities: np.ndarray, title: str) -> Figure:
    """Draw the number of images by true class (row) and predicted class (column).

    The colour scale is a power law, which makes rare errors visible.

    Args:
        examples: Test images, n.
        probabilities: Predicted class probabilities, (n, classes).
        title: Title of the figure.
    """
    names = examples.classes
    side = max(6.4, min(0.45 * len(names), 40))  # inches
    figure = Figure(figsize=(side, side - 0.2), layout="constrained")
    axes = figure.subplots()
    ConfusionMatrixDisplay.from_predictions(
        examples.labels,
        probabilities.argmax(axis=1),
        labels=range(len(names)),
        display_labels=names,
        include_values=len(names) <= MAX_NUMBERED_CLASSES,
        xticks_rotation="vertical" if max(map(len, names)) > 6 else "horizontal",
        ax=axes,
        cmap="Blues",
        colorbar=False,
        im_kw={"norm": PowerNorm(0.35)},
    )
    axes.set(xlabel="Predicted class", ylabel="True class", title=title)
    return figure


def reliability(probabilities: np.ndarray, temperature: float | None, labels: np.ndarray, title: str) -> Figure:
    """Draw the accuracy of the answers by their confidence, and the number of images in each bin of the confidence.

    A point is at the mean confidence and the accuracy of a bin; its bar is Wilson's 95% interval of the accuracy.

    Args:
        probabilities: Class probabilities that the model predicts for the test images, (n, classes).
        temperature: Temperature whose effect is drawn as well, or None.
        labels: Labels of the test images, (n,).
        title: First part of the title of the figure.
    """
    figure = Figure(figsize=(7, 7), layout="constrained")
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(2, 1))
    upper.plot([0, 1], [0, 1], color="gray", linestyle="--", label="Perfect calibration")
    series = {"As trained": probabilities}
    if temperature is not None:
        series[f"With temperature {temperature:.2f}"] = apply_temperature(probabilities, temperature)
    edges = np.linspace(0, 1, BINS + 1)
    width = 1 / BINS / len(series)
    for number, (name, values) in enumerate(series.items()):
        confidences, correct = confidence_and_correctness(values, labels)
        bins = find_bins(confidences)
        total, right, sums = (np.bincount(bins, weights, BINS) for weights in (None, correct, confidences))
        used = total > 0
        accuracies = right[used] / total[used]
        ends = [
            binomtest(int(hits), int(count)).proportion_ci(0.95, "wilson")
            for hits, count in zip(right[used], total[used], strict=True)
        ]
        errors = np.abs(np.transpose(ends) - accuracies)
        label = f"{name}: calibration error {calibration_error(confidences, correct):.2%}"
        style = {"color": f"C{number}", "marker": "os"[number], "linestyle": "none", "capsize": 3, "clip_on": False}
        upper.errorbar(sums[used] / total[used], accuracies, errors, label=label, **style)
        bars = lower.bar(edges[:-1] + number * width, total, width, align="edge", color=f"C{number}", edgecolor="white")
        lower.bar_label(bars, [f"{count:,}" for count in total], fontsize=7, rotation=90, padding=2)
    upper.set(
        title=f"{title}: accuracy by confidence, with 95% intervals", ylabel="Accuracy", xlim=(0, 1), ylim=(0, 1.02)
    )
    lower.set(
        xlabel=f"Confidence (probability of the answer, {BINS} bins)",
        ylabel="Test images (logarithmic)",
        yscale="symlog",
    )
    lower.margins(y=0.3)
    for axes in (upper, lower):
        axes.grid(visible=True, alpha=0.4)
    upper.xaxis.set_major_formatter(PercentFormatter(1))
    upper.yaxis.set_major_formatter(PercentFormatter(1))
    upper.legend(loc="lower right")
    return figure
