from pathlib import Path

import numpy as np
import pytest

from image_classifier.dataset import Examples
from image_classifier.files import write_figure
from image_classifier.prepare.samples import plot_samples

LONG = ("a class with a rather long name", "snow leopard", "x")


def random_examples(classes: tuple[str, ...], channels: int, number: int = 3) -> Examples:
    """Return small random images, some of each class."""
    count = number * len(classes)
    images = np.random.default_rng(0).integers(0, 256, (count, 6, 4, channels), np.uint8)
    return Examples(images, np.arange(count) % len(classes), classes)


def test_samples_show_six_images_of_each_class(examples: Examples) -> None:
    figure = plot_samples(examples, seed=0)
    drawn = np.asarray(figure.axes[0].images[0].get_array())
    assert drawn.shape == (6 * 32, 10 * 32)
    tile = drawn[2:30, 3 * 32 + 2 : 3 * 32 + 30]
    threes = examples.images[examples.labels == 3, :, :, 0]
    assert any((tile == three).all() for three in threes)


def test_colour_images_are_drawn_in_colour() -> None:
    examples = random_examples(("cat", "dog"), channels=3)
    drawn = np.asarray(plot_samples(examples, seed=0).axes[0].images[0].get_array())
    assert drawn.shape == (6 * 10, 2 * 8, 3)
    assert any((drawn[2:8, 2:6] == cat).all() for cat in examples.images[examples.labels == 0])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("classes", [LONG, tuple(f"class {number}" for number in range(40))], ids=["long", "40"])
def test_long_names_many_classes_and_colours_are_drawn(tmp_path: Path, classes: tuple[str, ...], channels: int) -> None:
    write_figure(tmp_path / "samples.png", plot_samples(random_examples(classes, channels), seed=0))  # no warning
    assert (tmp_path / "samples.png").stat().st_size


def test_of_many_classes_the_first_ones_are_drawn_and_the_title_says_so() -> None:
    axes = plot_samples(random_examples(tuple(map(str, range(40))), channels=1), seed=0).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == list(map(str, range(30)))
    assert axes.get_title() == "Six random training images of each class (the first 30 of 40)"


def test_the_only_image_of_a_class_is_repeated() -> None:
    drawn = np.asarray(
        plot_samples(random_examples(("cat", "dog"), channels=1, number=1), seed=0).axes[0].images[0].get_array()
    )
    assert len({drawn[10 * row : 10 * row + 10, :8].tobytes() for row in range(6)}) == 1
