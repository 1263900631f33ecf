import numpy as np

from image_classifier.dataset import Examples
from image_classifier.prepare.samples import plot_samples


def test_samples_show_six_images_of_each_class(examples: Examples) -> None:
    figure = plot_samples(examples.images, examples.labels, seed=0)
    drawn = np.asarray(figure.axes[0].images[0].get_array())
    assert drawn.shape == (6 * 32, 10 * 32)
    tile = drawn[2:30, 3 * 32 + 2 : 3 * 32 + 30]
    threes = examples.images[examples.labels == 3, :, :, 0]
    assert any((tile == three).all() for three in threes)
