"""Batches of images in a reproducible order."""

import math

import numpy as np
import tensorflow as tf

from image_classifier.dataset import Examples, scale_pixels


class BatchReader:
    """Reads batches of images and targets in an order that changes with the epoch.

    Each batch is read from the memory-mapped data set, so that memory does not grow with the number of images.
    """

    def __init__(
        self, examples: Examples, batch_size: int, label_smoothing: float = 0.0, max_shift_px: int = 0
    ) -> None:
        """Read the images in their own order, until `shuffle` is called.

        Args:
            examples: Images to read.
            batch_size: Images per batch; the last batch may have fewer.
            label_smoothing: Share of each target that is spread over all classes, 0 to 1.
            max_shift_px: Greatest shift of an image in pixels, from 0.
        """
        self._examples, self._batch_size, self._max_shift_px = examples, batch_size, max_shift_px
        self._other = label_smoothing / len(examples.classes)  # target of each class that is not the label
        self._label = 1 - label_smoothing + self._other
        self._order = np.arange(len(examples))
        self._shifts: np.ndarray | None = None

    def shuffle(self, random: np.random.Generator) -> None:
        """Draw the order, and the shift of each image, for the next epoch."""
        count = len(self._examples)
        self._order = random.permutation(count)
        if self._max_shift_px:
            self._shifts = random.integers(0, 2 * self._max_shift_px + 1, (2, count))

    def read(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a batch.

        Args:
            number: Number of the batch, from 0.

        Returns:
            Images: float32, (n, height, width, channels), 0 to 1; targets: float32, (n, classes), probabilities.
        """
        chosen = self._order[number * self._batch_size : (number + 1) * self._batch_size]
        images = self._examples.images[chosen]
        if self._shifts is not None:
            images = shift_images(images, self._max_shift_px, *self._shifts[:, chosen])
        targets = np.full((len(chosen), len(self._examples.classes)), self._other, np.float32)
        targets[np.arange(len(chosen)), self._examples.labels[chosen]] = self._label
        return scale_pixels(images), targets

    def dataset(self, first_batch: int = 0) -> tf.data.Dataset:
        """Return the batches of an epoch, in the order that holds when the epoch begins.

        Args:
            first_batch: Number of batches to skip.
        """
        # TensorFlow's autotuner is a thread that sleeps for 10 ms, 20 ms, 40 ms, … Sometimes the end of an epoch fails
        # to wake it and waits until it wakes by itself, which makes the epoch take up to twice as long.
        options = tf.data.Options()
        options.autotune.enabled = False
        shapes = (None, *self._examples.images.shape[1:]), (None, len(self._examples.classes))

        def read(number: tf.Tensor) -> tuple[tf.Tensor, ...]:
            batch = tf.numpy_function(self.read, [number], [tf.float32, tf.float32])
            return tuple(tf.ensure_shape(tensor, shape) for tensor, shape in zip(batch, shapes, strict=True))

        count = math.ceil(len(self._examples) / self._batch_size)
        return tf.data.Dataset.range(first_batch, count).map(read).prefetch(2).with_options(options)


def shift_images(images: np.ndarray, max_shift_px: int, top: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Move each image by a whole number of pixels in both directions; zeros fill the border.

    Args:
        images: (n, height, width, channels).
        max_shift_px: Greatest shift in pixels, from 0.
        top: Row of the padded image at which each result begins, (n,), from 0 (the image moves down by `max_shift_px`)
            to 2 x `max_shift_px` (it moves up).
        left: Column at which it begins, in the same form.
    """
    margin = (max_shift_px, max_shift_px)
    padded = np.pad(images, ((0, 0), margin, margin, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, images.shape[1:3], axis=(1, 2))
    return np.moveaxis(windows[np.arange(len(images)), top, left], 1, -1)
