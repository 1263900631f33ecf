"""Every picture but the diagram of the model. Each function returns a figure and writes nothing."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from sklearn.metrics import ConfusionMatrixDisplay

from mnist_cnn.dataset import CLASSES, Examples

RIGHT, WRONG = "tab:green", "tab:red"


def samples(images: np.ndarray, labels: np.ndarray, seed: int) -> Figure:
    """Draw six random images of each class, a column per class.

    Args:
        images: (n, 28, 28, 1), any range.
        labels: (n,), 0 to 9, each at least once; of a class with fewer than six images some are drawn again.
        seed: chooses the images.
    """
    rows = 6
    generator = np.random.default_rng(seed)
    columns = []
    for label in range(CLASSES):
        candidates = np.flatnonzero(labels == label)
        chosen = generator.choice(candidates, rows, replace=len(candidates) < rows)
        columns.append(np.pad(images[chosen, :, :, 0], ((0, 0), (2, 2), (2, 2))).reshape(-1, 32))
    figure = Figure(figsize=(8, 5.2), layout="constrained")
    axes = figure.subplots()
    axes.imshow(np.hstack(columns), cmap="gray")
    axes.set_xticks(32 * np.arange(CLASSES) + 15.5, [str(label) for label in range(CLASSES)])
    axes.tick_params(length=0)
    axes.set_yticks([])
    axes.set(title="Six random training images of each class", xlabel="Class")
    return figure


def loss_curves(history: pd.DataFrame, title: str) -> Figure:
    """Draw training and test loss by epoch; `history` as `training.train` returns it."""
    return _curves(history, "loss", "Loss (cross-entropy)", title)


def accuracy_curves(history: pd.DataFrame, title: str) -> Figure:
    """Draw training and test accuracy by epoch; `history` as `training.train` returns it."""
    return _curves(history, "accuracy", "Accuracy", title)


def _curves(history: pd.DataFrame, quantity: str, label: str, title: str) -> Figure:
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(history.index, history[f"val_{quantity}"], marker="o", linewidth=2, label="Validation = test")
    axes.plot(history.index, history[quantity], marker="s", linewidth=2, label="Training (dropout, any augmentation)")
    axes.set(xlabel="Epoch", ylabel=label, title=title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if quantity == "accuracy":
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axes.grid(visible=True, alpha=0.4)
    axes.legend()
    return figure


def predictions(examples: Examples, probabilities: np.ndarray, seed: int) -> Figure:
    """Draw ten random digits with the prediction beside each, green if right and red if wrong.

    Args:
        examples: n of them.
        probabilities: of the classes, (n, 10).
        seed: chooses the digits.
    """
    count = min(10, len(examples.labels))
    chosen = np.sort(np.random.default_rng(seed).choice(len(examples.labels), count, replace=False))
    return _digits(examples, probabilities, chosen, "Ten random test images and their predictions")


def mistakes(examples: Examples, probabilities: np.ndarray) -> Figure:
    """Draw the ten errors in which the true class got the least probability; arguments as in `predictions`."""
    labels = examples.labels
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    worst = wrong[np.argsort(probabilities[wrong, labels[wrong]], kind="stable")][:10]
    title = f"The worst of {len(wrong)} errors on {len(labels):,} test images" if len(wrong) else "No errors"
    return _digits(examples, probabilities, worst, title)


def _digits(examples: Examples, probabilities: np.ndarray, chosen: np.ndarray, title: str) -> Figure:
    figure = Figure(figsize=(10, 3.7), layout="constrained")
    grid = figure.subplots(2, 5)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, index in zip(grid.flat, chosen, strict=False):  # fewer digits leave places empty
        label, predicted = examples.labels[index], int(probabilities[index].argmax())
        axes.imshow(examples.images[index, :, :, 0], cmap="gray")
        axes.set_title(f"no. {index}" + ("" if predicted == label else f", is a {label}"), fontsize=10, loc="left")
        beside = {"x": 1.08, "transform": axes.transAxes, "color": RIGHT if predicted == label else WRONG}
        axes.text(y=0.5, s=str(predicted), fontsize=34, va="center", **beside)
        axes.text(y=0.06, s=f"{probabilities[index, predicted]:.1%}", fontsize=9, **beside)
    figure.suptitle(title)
    return figure


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, title: str) -> Figure:
    """Draw how often each class (row) is taken for each class (column); the colour scale favours the rare errors."""
    figure = Figure(figsize=(6.4, 6.2), layout="constrained")
    axes = figure.subplots()
    ConfusionMatrixDisplay.from_predictions(
        labels, predicted, ax=axes, cmap="Blues", colorbar=False, im_kw={"norm": PowerNorm(0.35)}
    )
    axes.set(xlabel="Predicted class", ylabel="True class", title=title)
    return figure


def replicates(bands: Mapping[str, Mapping[str, pd.DataFrame]], confidence: float) -> Figure:
    """Draw training loss and validation accuracy of several seeds: their mean, and where another seed is expected.

    Args:
        bands: as `replicates.bands` returns them.
        confidence: of the bands, 0 to 1, exclusive.
    """
    figure = Figure(figsize=(11, 5), layout="constrained")
    panels = figure.subplots(1, 2)
    for index, (run, of_run) in enumerate(bands.items()):
        for axes, quantity in zip(panels, ("loss", "val_accuracy"), strict=True):
            axes.plot(of_run[quantity]["mean"], color=f"C{index}", marker="o", markersize=3, linewidth=1, label=run)
            _band(axes, of_run[quantity], f"C{index}")
    _epochs(panels)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    figure.suptitle(f"Mean of the seeds (lines), and where {confidence:.0%} of other seeds are expected (bands)")
    return figure


def _band(axes: Axes, band: pd.DataFrame, color: str) -> None:
    axes.fill_between(band.index, band["low"], band["high"], color=color, alpha=0.3, linewidth=0)


def _epochs(panels: Iterable[Axes]) -> None:
    """Label two panels by epoch: training loss and validation accuracy."""
    loss, accuracy = panels
    for axes in (loss, accuracy):
        axes.set_xlabel("Epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(visible=True, which="both", alpha=0.4)
    loss.set(
        title="Training loss (with dropout, and smoothed labels if any)",
        ylabel="Cross-entropy, logarithmic",
        yscale="log",
    )
    loss.yaxis.set_major_formatter("{x:g}")
    accuracy.set(title="Validation accuracy (on the test images)", ylabel="Accuracy")
    accuracy.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def comparison(
    histories: Mapping[str, pd.DataFrame],
    published: Mapping[str, pd.DataFrame],
    bands: Mapping[str, Mapping[str, pd.DataFrame]],
    confidence: float,
) -> Figure:
    """Draw training loss and validation accuracy of all runs (lines) and published logs (dashes) by epoch.

    Args:
        histories: for each run columns loss and val_accuracy; index epoch, from 1.
        published: the same for each published log.
        bands: of those runs that have replicates, as `replicates.bands` returns them.
        confidence: of the bands, 0 to 1, exclusive.
    """
    figure = Figure(figsize=(11, 5), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, quantity in zip(panels, ("loss", "val_accuracy"), strict=True):
        for index, (run, history) in enumerate(histories.items()):
            axes.plot(history.index, history[quantity], color=f"C{index}", marker="o", markersize=4, label=run)
            if run in bands:
                _band(axes, bands[run][quantity], f"C{index}")
        for log, history in published.items():
            axes.plot(history.index, history[quantity], linestyle="--", marker="x", label=f"published as {log}")
    if bands:
        figure.suptitle(f"Lines: single runs. Bands: where {confidence:.0%} of their other seeds are expected")
    _epochs(panels)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure
