"""Plot of several runs."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

STYLES: dict[str, dict[str, Any]] = {
    "single runs": {"markersize": 4},
    "means of the seeds": {"markersize": 3, "linewidth": 1},
}


def plot_curves(
    curves: Mapping[str, pd.DataFrame],
    bands: Mapping[str, pd.DataFrame],
    published: Mapping[str, pd.DataFrame],
    confidence: float,
    lines: str = "single runs",
) -> Figure:
    """Draw training loss and validation accuracy of runs (solid) and published logs (dashed) by epoch.

    Args:
        curves: Columns loss and val_accuracy for each run; index epoch, from 1.
        bands: Prediction intervals of the runs that have replicates, from `seeds.prediction_intervals`.
        published: Columns loss and val_accuracy for each published log; index epoch, from 1.
        confidence: Level of the intervals, 0 to 1, exclusive.
        lines: Meaning of the curves, a key of `STYLES`.
    """
    figure = Figure(figsize=(11, 5), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    for axes, metric in ((loss, "loss"), (accuracy, "val_accuracy")):
        for index, (run, curve) in enumerate(curves.items()):
            axes.plot(curve.index, curve[metric], color=f"C{index}", marker="o", label=run, **STYLES[lines])
            if run in bands:
                low, high = bands[run]["low"][metric], bands[run]["high"][metric]
                axes.fill_between(low.index, low, high, color=f"C{index}", alpha=0.3, linewidth=0)
        for log, curve in published.items():
            axes.plot(curve.index, curve[metric], linestyle="--", marker="x", label=f"published as {log}")
        axes.set_xlabel("Epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(visible=True, which="both", alpha=0.4)
    if bands:
        figure.suptitle(f"Lines: {lines}. Bands: {confidence:.0%} prediction intervals for another seed")
    loss.set(
        title="Training loss (with dropout, and smoothed labels if any)",
        ylabel="Loss, logarithmic",
        yscale="log",
    )
    loss.yaxis.set_major_formatter("{x:g}")
    accuracy.set(title="Validation accuracy (on the test images)", ylabel="Accuracy")
    accuracy.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    figure.legend(*loss.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure
