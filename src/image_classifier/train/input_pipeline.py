"""Batches of images in a reproducible order."""

import math

import numpy as np
import tensorflow as tf


def batch_dataset(
    images: tf.Variable, targets: tf.Tensor, order: tf.Variable, batch_size: int, first_batch: int
) -> tf.data.Dataset:
    """Read the images in the order that the variables hold when an epoch begins.

    Args:
        images: float32, (n, 28, 28, 1), in [0, 1].
        targets: float32, (n, 10), probabilities.
        order: int64, (n,), positions of the images.
        batch_size: Images per batch; the last batch may have fewer.
        first_batch: Number of batches to skip.
    """
    count = math.ceil(len(targets) / batch_size)

    # TensorFlow's autotuner is a thread that sleeps for 10 ms, 20 ms, 40 ms, … Sometimes the end of an epoch fails to
    # wake it and waits until it wakes by itself, which makes the epoch take up to twice as long.
    options = tf.data.Options()
    options.autotune.enabled = False

    def epoch(_: tf.Tensor) -> tf.data.Dataset:
        positions, pixels = order.read_value(), images.read_value()

        def batch(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            chosen = positions[number * batch_size : (number + 1) * batch_size]
            return tf.gather(pixels, chosen), tf.gather(targets, chosen)

        return tf.data.Dataset.range(first_batch, count).map(batch)

    return (
        tf.data.Dataset.range(1)
        .flat_map(epoch)
        .apply(tf.data.experimental.assert_cardinality(count - first_batch))
        .prefetch(2)
        .with_options(options)
    )


def shift_images(images: np.ndarray, max_shift_px: int, random: np.random.Generator) -> np.ndarray:
    """Move each image by a whole number of pixels in both directions; zeros fill the border.

    Args:
        images: (n, height, width, channels).
        max_shift_px: Greatest shift in pixels, from 0.
        random: Generator that chooses one of the (2 x max_shift_px + 1)**2 equally probable shifts for each image.
    """
    margin = (max_shift_px, max_shift_px)
    padded = np.pad(images, ((0, 0), margin, margin, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, images.shape[1:3], axis=(1, 2))
    down, right = random.integers(0, 2 * max_shift_px + 1, (2, len(images)))
    return np.moveaxis(windows[np.arange(len(images)), down, right], 1, -1)
