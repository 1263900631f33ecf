import numpy as np
import pytest
import tensorflow as tf

from image_classifier.dataset import Examples
from image_classifier.train.input_pipeline import batch_dataset, shift_images


@pytest.mark.parametrize("batch_size", [32, 50, 200, 300])
def test_each_epoch_reads_every_image_once_in_an_order_of_its_own(examples: Examples, batch_size: int) -> None:
    order = tf.Variable(tf.range(200, dtype=tf.int64))
    batches = batch_dataset(tf.Variable(examples.images), tf.one_hot(examples.labels, 10), order, batch_size, 0)
    epochs = []
    for epoch in range(2):
        order.assign(np.random.default_rng((42, epoch)).permutation(200))
        images = np.concatenate([images for images, _ in batches])
        np.testing.assert_array_equal(images, examples.images[order.numpy()])
        epochs.append(images)
    assert not np.array_equal(epochs[0], epochs[1])


def test_all_shifts_are_equally_frequent() -> None:
    dot = np.zeros((9000, 5, 5, 1), np.float32)
    dot[:, 2, 2] = 1
    moved = shift_images(dot, 1, np.random.default_rng(1))
    assert (moved.shape, moved.dtype) == (dot.shape, dot.dtype)
    positions = moved.sum(axis=0)[..., 0]
    assert positions[1:4, 1:4].min() > 900
    assert positions[1:4, 1:4].sum() == 9000


def test_zeros_fill_the_border_of_a_moved_image() -> None:
    ones = np.ones((500, 4, 4, 1), np.float32)
    sums = {int(image.sum()) for image in shift_images(ones, 1, np.random.default_rng(1))}
    assert sums == {16, 12, 9}
