from types import SimpleNamespace

import numpy as np
import pytest

from image_classifier.error_browser.occlusion import BATCH_SIZE, CELLS, occlude, occlusion_maps


def predict_brightness(images: np.ndarray) -> np.ndarray:
    """Return the brightness of the pixel at the top left as the probability of class 1."""
    brightness = images[:, 0, 0, 0]
    return np.stack([1 - brightness, brightness], axis=1)


MODEL = SimpleNamespace(predict_on_batch=predict_brightness)


@pytest.mark.parametrize("shape", [(28, 28, 1), (25, 40, 3), (4, 4, 1)])
def test_a_square_of_each_copy_has_the_colour_of_the_border(shape: tuple[int, ...]) -> None:
    image = np.zeros(shape, np.uint8)
    image[1:-1, 1:-1] = 255
    copies = occlude(image)
    assert copies.shape == (CELLS**2, *shape)
    assert copies.min(axis=0)[1:-1, 1:-1].max() == 0, "every pixel is covered in some copy"
    assert not (copies > image).any()


def test_the_map_shows_the_probability_that_the_answer_loses() -> None:
    image = np.zeros((28, 28, 1), np.uint8)
    image[0, 0] = 204
    (maps,) = occlusion_maps(MODEL, image[np.newaxis], np.array([1]))
    expected = np.zeros((CELLS, CELLS))
    expected[0, 0] = 0.8
    np.testing.assert_allclose(maps[0], expected, atol=1e-6)


def test_a_gain_counts_as_no_loss() -> None:
    image = np.zeros((28, 28, 1), np.uint8)
    image[0, 0] = 204
    (maps,) = occlusion_maps(MODEL, image[np.newaxis], np.array([0]))
    assert maps.max() == 0


def test_images_are_mapped_in_batches() -> None:
    images = np.zeros((BATCH_SIZE + 1, 8, 8, 1), np.uint8)
    maps = list(occlusion_maps(MODEL, images, np.zeros(len(images), int)))
    assert [len(batch) for batch in maps] == [BATCH_SIZE, 1]
