import numpy as np
import pandas as pd

from image_classifier.compare.plots import plot_curves


def test_the_comparison_shows_each_run_and_each_published_log(history: pd.DataFrame) -> None:
    figure = plot_curves({"a": history, "b": history}, {}, {"a": history}, 0.95)
    assert [text.get_text() for text in figure.legends[0].texts] == ["a", "b", "published as a"]
    assert [len(axes.lines) for axes in figure.axes] == [3, 3]


def test_replicates_are_drawn_as_bands(history: pd.DataFrame) -> None:
    values = {"mean": [0.5, 0.6], "low": [0.4, 0.5], "high": [0.6, 0.7]}
    columns = {(name, metric): values[name] for name in values for metric in ("loss", "val_accuracy")}
    bands = {"a": pd.DataFrame(columns, index=history.index)}
    figure = plot_curves({"a": history, "b": history}, bands, {}, 0.95, lines="means of the seeds")
    assert figure.get_suptitle() == "Lines: means of the seeds. Bands: 95% prediction intervals for another seed"
    for axes in figure.axes:
        (drawn,) = axes.collections
        assert {tuple(vertex) for vertex in np.asarray(drawn.get_paths()[0].vertices)} >= {(1, 0.4), (2, 0.7)}
