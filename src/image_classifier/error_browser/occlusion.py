"""Occlusion maps, which show the parts of an image that an answer depends on (Zeiler and Fergus 2014, section 4.2)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from image_classifier.dataset import scale_pixels
from image_classifier.fetch.pictures import border_color

if TYPE_CHECKING:
    import keras

CELLS = 7  # rows, and columns, of a map
BATCH_SIZE = 16  # images whose occluded copies make one forward step


def occlusion_maps(model: "keras.Model", images: np.ndarray, answers: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the occlusion maps of images, batch by batch.

    A cell of the map is the probability of the answer that is lost when a square of twice the cell's width around it
    gets the median colour of the image's border.

    Args:
        model: Model from images to class probabilities.
        images: uint8, (n, height, width, channels), 0…255.
        answers: Classes whose probabilities are measured, (n,).

    Yields:
        Lost probabilities, 0 to 1; float32, (images of the batch, `CELLS`, `CELLS`). A gain counts as 0.
    """
    for first in range(0, len(images), BATCH_SIZE):
        batch = images[first : first + BATCH_SIZE]
        classes = answers[first : first + BATCH_SIZE]
        copies = np.stack([occlude(image) for image in batch])
        inputs = scale_pixels(np.concatenate([batch, copies.reshape(-1, *batch.shape[1:])]))
        probabilities = model.predict_on_batch(inputs)
        before = probabilities[np.arange(len(batch)), classes]
        after = probabilities[len(batch) :].reshape(len(batch), CELLS**2, -1)
        lost = before[:, np.newaxis] - np.take_along_axis(after, classes[:, np.newaxis, np.newaxis], axis=2)[..., 0]
        yield lost.clip(0, 1).reshape(-1, CELLS, CELLS)


def occlude(image: np.ndarray) -> np.ndarray:
    """Return a copy of an image for each cell, from the top left in rows, in which the square around it is covered.

    Args:
        image: uint8, (height, width, channels).

    Returns:
        uint8, (`CELLS` ** 2, height, width, channels).
    """
    copies = np.repeat(image[np.newaxis], CELLS**2, axis=0)
    height, width = image.shape[:2]
    for cell, copy in enumerate(copies):
        row, column = divmod(cell, CELLS)
        rows = slice(max(0, round((row - 0.5) * height / CELLS)), round((row + 1.5) * height / CELLS))
        columns = slice(max(0, round((column - 0.5) * width / CELLS)), round((column + 1.5) * width / CELLS))
        copy[rows, columns] = border_color(image)
    return copies
