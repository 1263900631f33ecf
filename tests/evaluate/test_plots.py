import numpy as np
import pandas as pd
import pytest

from image_classifier.dataset import Examples
from image_classifier.evaluate import plots


@pytest.fixture
def probabilities(examples: Examples) -> np.ndarray:
    """Correct for all images except 3 and 7; the true class of 7 has the lower probability."""
    certain: np.ndarray = np.eye(10)[examples.labels]
    for index, share in ((3, 0.6), (7, 0.9)):
        certain[index] = np.roll(certain[index], 1) * share + certain[index] * (1 - share)
    return certain


def test_loss_and_accuracy_curves_show_training_and_validation_with_markers(history: pd.DataFrame) -> None:
    for metric in plots.CURVES:
        axes = plots.training_curves(history, metric, "title", "held-out").axes[0]
        np.testing.assert_array_equal([line.get_ydata() for line in axes.lines], history[[f"val_{metric}", metric]].T)
        assert all(line.get_marker() != "None" for line in axes.lines)
        assert axes.lines[0].get_label() == "Validation = held-out"
        assert axes.get_legend() is not None


def test_predictions_show_ten_images_with_the_predicted_classes(examples: Examples, probabilities: np.ndarray) -> None:
    figure = plots.predictions(examples, probabilities, seed=0)
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 10
    for axes in shown:
        index = int(axes.get_title(loc="left").removeprefix("no. ").split(",")[0])
        assert axes.texts[0].get_text() == str(probabilities[index].argmax())
        np.testing.assert_array_equal(axes.images[0].get_array(), examples.images[index, :, :, 0])


def test_mistakes_show_the_worst_error_first(examples: Examples, probabilities: np.ndarray) -> None:
    figure = plots.mistakes(examples, probabilities)
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.images]
    assert titles == [f"no. {index}, is a {examples.labels[index]}" for index in (7, 3)]


def test_a_model_without_mistakes_is_drawn(examples: Examples) -> None:
    figure = plots.mistakes(examples, np.eye(10)[examples.labels])
    assert figure.get_suptitle() == "No errors"


def test_the_confusion_matrix_counts_every_image(examples: Examples, probabilities: np.ndarray) -> None:
    axes = plots.confusion_matrix(examples.labels, probabilities.argmax(axis=1), "title").axes[0]
    assert sum(int(text.get_text()) for text in axes.texts) == len(examples.labels)
