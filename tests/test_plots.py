import numpy as np
import pandas as pd
import pytest

from mnist_cnn import plots
from mnist_cnn.dataset import Examples


@pytest.fixture
def probabilities(examples: Examples) -> np.ndarray:
    """Right for all but images 3 and 7; 7 is the worse error."""
    certain: np.ndarray = np.eye(10)[examples.labels]
    for index, share in ((3, 0.6), (7, 0.9)):
        certain[index] = np.roll(certain[index], 1) * share + certain[index] * (1 - share)
    return certain


def test_loss_and_accuracy_curves_show_training_and_validation_with_markers(history: pd.DataFrame) -> None:
    for draw, quantity in ((plots.loss_curves, "loss"), (plots.accuracy_curves, "accuracy")):
        axes = draw(history, "title").axes[0]
        np.testing.assert_array_equal(
            [line.get_ydata() for line in axes.lines], history[[f"val_{quantity}", quantity]].T
        )
        assert all(line.get_marker() != "None" for line in axes.lines)
        assert axes.get_legend() is not None


def test_predictions_show_ten_digits_with_what_the_model_says(examples: Examples, probabilities: np.ndarray) -> None:
    figure = plots.predictions(examples, probabilities, seed=0)
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 10
    for axes in shown:
        index = int(axes.get_title(loc="left").removeprefix("no. ").split(",")[0])
        assert axes.texts[0].get_text() == str(probabilities[index].argmax())
        np.testing.assert_array_equal(axes.images[0].get_array(), examples.images[index, :, :, 0])


def test_mistakes_show_the_errors_worst_first(examples: Examples, probabilities: np.ndarray) -> None:
    figure = plots.mistakes(examples, probabilities)
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.images]
    assert titles == [f"no. {index}, is a {examples.labels[index]}" for index in (7, 3)]


def test_a_model_without_mistakes_is_drawn(examples: Examples) -> None:
    figure = plots.mistakes(examples, np.eye(10)[examples.labels])
    assert figure.get_suptitle() == "No errors"


def test_the_confusion_matrix_counts_every_image(examples: Examples, probabilities: np.ndarray) -> None:
    axes = plots.confusion_matrix(examples.labels, probabilities.argmax(axis=1), "title").axes[0]
    assert sum(int(text.get_text()) for text in axes.texts) == len(examples.labels)


def test_samples_show_six_images_of_each_class(examples: Examples) -> None:
    drawn = np.asarray(plots.samples(examples.images, examples.labels, seed=0).axes[0].images[0].get_array())
    assert drawn.shape == (6 * 32, 10 * 32)
    tile = drawn[2:30, 3 * 32 + 2 : 3 * 32 + 30]
    threes = examples.images[examples.labels == 3, :, :, 0]
    assert any((tile == three).all() for three in threes)


def test_the_comparison_shows_each_run_and_each_published_log(history: pd.DataFrame) -> None:
    figure = plots.comparison({"a": history, "b": history}, {"a": history}, {}, 0.95)
    assert [text.get_text() for text in figure.legends[0].texts] == ["a", "b", "published as a"]
    assert [len(axes.lines) for axes in figure.axes] == [3, 3]


def test_replicates_are_drawn_as_bands(history: pd.DataFrame) -> None:
    band = pd.DataFrame({"mean": [0.5, 0.6], "low": [0.4, 0.5], "high": [0.6, 0.7]}, index=history.index)
    bands = {"a": {"loss": band, "val_accuracy": band}}
    for figure in (plots.comparison({"a": history, "b": history}, {}, bands, 0.95), plots.replicates(bands, 0.95)):
        for axes in figure.axes:
            (drawn,) = axes.collections
            assert {tuple(vertex) for vertex in np.asarray(drawn.get_paths()[0].vertices)} >= {(1, 0.4), (2, 0.7)}
