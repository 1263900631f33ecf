from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from image_classifier.dataset import Examples, scale_pixels
from image_classifier.evaluate import plots
from image_classifier.files import write_figure


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
        np.testing.assert_array_equal(axes.images[0].get_array(), scale_pixels(examples.images[index, :, :, 0]))


def test_mistakes_show_the_worst_error_first(examples: Examples, probabilities: np.ndarray) -> None:
    figure = plots.mistakes(examples, probabilities)
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.images]
    assert titles == [f"no. {index}, is a {examples.labels[index]}" for index in (7, 3)]


def test_a_model_without_mistakes_is_drawn(examples: Examples) -> None:
    figure = plots.mistakes(examples, np.eye(10)[examples.labels])
    assert figure.get_suptitle() == "No errors"


def test_the_confusion_matrix_counts_every_image(examples: Examples, probabilities: np.ndarray) -> None:
    axes = plots.confusion_matrix(examples, probabilities, "title").axes[0]
    assert sum(int(text.get_text()) for text in axes.texts) == len(examples.labels)


def test_the_confusion_matrix_has_a_row_for_a_class_that_does_not_occur(
    examples: Examples, probabilities: np.ndarray
) -> None:
    some = Examples(examples.images[:3], examples.labels[:3], examples.classes)
    axes = plots.confusion_matrix(some, probabilities[:3], "title").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(examples.classes)


def test_the_confusion_matrix_of_many_classes_has_no_numbers() -> None:
    examples, probabilities = random_results(tuple(map(str, range(51))), channels=1)
    axes = plots.confusion_matrix(examples, probabilities, "title").axes[0]
    assert len(axes.texts) == 0
    assert np.asarray(axes.images[0].get_array()).sum() == 102


def random_results(classes: tuple[str, ...], channels: int) -> tuple[Examples, np.ndarray]:
    """Return small random images, two of each class, and the probabilities of a model that is right for every other."""
    count = 2 * len(classes)
    images = np.random.default_rng(0).integers(0, 256, (count, 6, 4, channels), np.uint8)
    labels = np.arange(count) % len(classes)
    predicted = np.where(np.arange(count) % 2, labels, (labels + 1) % len(classes))
    return Examples(images, labels, classes), np.eye(len(classes))[predicted]


def test_colour_images_are_drawn_in_colour_with_the_names_of_their_classes() -> None:
    examples, probabilities = random_results(("cat", "dog"), channels=3)
    shown = [axes for axes in plots.mistakes(examples, probabilities).axes if axes.images]
    for axes, index in zip(shown, (0, 2), strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), scale_pixels(examples.images[index]))
        assert (axes.texts[0].get_text(), axes.get_title(loc="left")) == ("dog", f"no. {index}, is a cat")


def test_a_long_name_is_cut_so_that_it_does_not_cover_the_next_image() -> None:
    examples, probabilities = random_results(("a class with a long name", "twelve chars"), channels=1)
    first, second = [axes for axes in plots.mistakes(examples, probabilities).axes if axes.images]
    assert first.texts[0].get_text() == second.texts[0].get_text() == "twelve chars"
    assert first.get_title(loc="left") == "no. 0, is a a class wit…"


LONG = ("a class with a rather long name", "snow leopard", "x")


@pytest.mark.parametrize(
    ("classes", "channels"),
    [(LONG, 1), (LONG, 3), (tuple(f"class {number}" for number in range(40)), 3)],
    ids=["gray", "colour", "40"],
)
def test_long_names_many_classes_and_colours_are_drawn(tmp_path: Path, classes: tuple[str, ...], channels: int) -> None:
    examples, probabilities = random_results(classes, channels)
    figures = {
        "predictions": plots.predictions(examples, probabilities, seed=0),
        "mistakes": plots.mistakes(examples, probabilities),
        "confusion_matrix": plots.confusion_matrix(examples, probabilities, "title"),
    }
    for name, figure in figures.items():
        write_figure(tmp_path / f"{name}.png", figure)  # no warning
        assert (tmp_path / f"{name}.png").stat().st_size


def test_the_reliability_diagram_shows_each_bin_with_its_number_of_images(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.full(4, 0.4), 300)
    figure = plots.reliability(probabilities, 1.5, generator.integers(4, size=300), "title")
    accuracies, counts = figure.axes
    legend = accuracies.get_legend()
    assert legend is not None
    assert [text.get_text().partition(":")[0] for text in legend.get_texts()] == [
        "Perfect calibration",
        "As trained",
        "With temperature 1.50",
    ]
    assert (accuracies.get_xlim(), accuracies.get_ylim()[0]) == ((0, 1), 0)
    assert sum(int(text.get_text()) for text in counts.texts) == 2 * 300
    write_figure(tmp_path / "reliability.png", figure)  # no warning
