"""Plots of several runs. Each function returns a figure and writes nothing."""

from collections.abc import Iterable, Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

METRICS = ("loss", "val_accuracy")  # of the two panels


def plot_comparison(
    histories: Mapping[str, pd.DataFrame],
    published: Mapping[str, pd.DataFrame],
    bands: Mapping[str, pd.DataFrame],
    confidence: float,
) -> Figure:
    """Draw training loss and validation accuracy of runs (solid) and published logs (dashed) by epoch.

    Args:
        histories: Columns loss and val_accuracy for each run; index epoch, from 1.
        published: The same for each published log.
        bands: Prediction intervals of the runs that have replicates, from `seeds.prediction_intervals`.
        confidence: Level of the intervals, 0 to 1, exclusive.
    """
    figure = Figure(figsize=(11, 5), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, metric in zip(panels, METRICS, strict=True):
        for index, (run, history) in enumerate(histories.items()):
            axes.plot(history.index, history[metric], color=f"C{index}", marker="o", markersize=4, label=run)
            if run in bands:
                _fill_band(axes, bands[run], metric, f"C{index}")
        for log, history in published.items():
            axes.plot(history.index, history[metric], linestyle="--", marker="x", label=f"published as {log}")
    if bands:
        figure.suptitle(f"Lines: single runs. Bands: {confidence:.0%} prediction intervals for another seed")
    _finish(figure, panels)
    return figure


def plot_replicates(bands: Mapping[str, pd.DataFrame], confidence: float) -> Figure:
    """Draw training loss and validation accuracy by epoch: the mean over the seeds and the prediction interval.

    Args:
        bands: Prediction intervals of each run, from `seeds.prediction_intervals`.
        confidence: Level of the intervals, 0 to 1, exclusive.
    """
    figure = Figure(figsize=(11, 5), layout="constrained")
    panels = figure.subplots(1, 2)
    for index, (run, band) in enumerate(bands.items()):
        for axes, metric in zip(panels, METRICS, strict=True):
            axes.plot(band["mean"][metric], color=f"C{index}", marker="o", markersize=3, linewidth=1, label=run)
            _fill_band(axes, band, metric, f"C{index}")
    _finish(figure, panels)
    figure.suptitle(f"Lines: means of the seeds. Bands: {confidence:.0%} prediction intervals for another seed")
    return figure


def _fill_band(axes: Axes, band: pd.DataFrame, metric: str, color: str) -> None:
    axes.fill_between(band.index, band["low"][metric], band["high"][metric], color=color, alpha=0.3, linewidth=0)


def _finish(figure: Figure, panels: Iterable[Axes]) -> None:
    """Label the panels of training loss and validation accuracy, and add the legend."""
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
    figure.legend(*loss.get_legend_handles_labels(), loc="outside lower center", ncols=5)
