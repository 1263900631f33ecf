from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from image_classifier.dataset import Examples, read_array, scale_pixels
from image_classifier.train.input_pipeline import BatchReader, shift_images


def in_epoch(epoch: int) -> np.random.Generator:
    return np.random.default_rng((42, epoch))


def read_all(reader: BatchReader, first_batch: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the images and the targets of each batch of an epoch."""
    images, targets = zip(*reader.dataset(first_batch).as_numpy_iterator(), strict=True)
    return list(images), list(targets)


@pytest.mark.parametrize("batch_size", [32, 50, 200, 300])
def test_each_epoch_reads_every_image_once_in_an_order_of_its_own(examples: Examples, batch_size: int) -> None:
    reader, epochs = BatchReader(examples, batch_size), []
    for epoch in range(2):
        reader.shuffle(in_epoch(epoch))
        order = in_epoch(epoch).permutation(200)
        batches, targets = read_all(reader)
        images = np.concatenate(batches)
        np.testing.assert_array_equal(images, scale_pixels(examples.images[order]), strict=True)
        np.testing.assert_array_equal(np.concatenate(targets).argmax(axis=1), examples.labels[order])
        epochs.append(images)
    assert not np.array_equal(epochs[0], epochs[1])


def test_one_dataset_follows_the_order_of_each_epoch(examples: Examples) -> None:
    reader = BatchReader(examples, 64)
    dataset = reader.dataset()
    for epoch in range(2):
        reader.shuffle(in_epoch(epoch))
        images = np.concatenate([images for images, _ in dataset.as_numpy_iterator()])
        np.testing.assert_array_equal(images, scale_pixels(examples.images[in_epoch(epoch).permutation(200)]))


def test_without_a_shuffle_the_images_have_their_own_order(examples: Examples) -> None:
    images, _ = read_all(BatchReader(examples, 64))
    np.testing.assert_array_equal(np.concatenate(images), scale_pixels(examples.images))


def test_the_last_batch_has_the_rest_of_the_images(examples: Examples) -> None:
    reader = BatchReader(examples, 64)
    assert [len(images) for images in read_all(reader)[0]] == [64, 64, 64, 8]
    assert reader.dataset().cardinality() == 4


def test_an_epoch_can_begin_with_a_later_batch(examples: Examples) -> None:
    reader = BatchReader(examples, 64, max_shift_px=2)
    reader.shuffle(in_epoch(0))
    whole, rest = read_all(reader), read_all(reader, first_batch=2)
    assert reader.dataset(2).cardinality() == 2
    for all_parts, later_parts in zip(whole, rest, strict=True):
        for one, other in zip(all_parts[2:], later_parts, strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_shapes_are_known_except_for_the_number_of_images(examples: Examples) -> None:
    images, targets = BatchReader(examples, 64).dataset().element_spec
    assert images == tf.TensorSpec((None, 28, 28, 1), tf.float32)
    assert targets == tf.TensorSpec((None, 10), tf.float32)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.2, 1.0])
@pytest.mark.parametrize("classes", [2, 10, 257])
def test_targets_have_the_bits_of_tf_one_hot(smoothing: float, classes: int) -> None:
    labels = np.arange(classes, dtype=np.min_scalar_type(classes - 1))
    examples = Examples(np.zeros((classes, 1, 1, 1), np.uint8), labels, tuple(map(str, range(classes))))
    _, targets = BatchReader(examples, classes, smoothing).read(0)
    off = smoothing / classes
    expected = tf.one_hot(labels, classes, on_value=1 - smoothing + off, off_value=off, dtype=tf.float32)
    np.testing.assert_array_equal(targets, expected.numpy(), strict=True)


def test_images_are_moved_by_the_shifts_of_the_epoch(examples: Examples) -> None:
    reader, random = BatchReader(examples, 64, max_shift_px=2), in_epoch(1)
    reader.shuffle(in_epoch(1))
    order, shifts = random.permutation(200), random.integers(0, 5, (2, 200))
    images = np.concatenate(read_all(reader)[0])
    expected = shift_images(examples.images[order], 2, *shifts[:, order])
    np.testing.assert_array_equal(images, scale_pixels(expected))
    assert not np.array_equal(images, scale_pixels(examples.images[order]))


def test_a_memory_mapped_data_set_is_read_in_batches_and_stays_uint8(examples: Examples, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", examples.images)
    mapped = Examples(read_array(tmp_path / "images.npy"), examples.labels, examples.classes)
    readers = [BatchReader(one, 64, max_shift_px=1) for one in (mapped, examples)]
    for reader in readers:
        reader.shuffle(in_epoch(0))
    for one, other in zip(*(read_all(reader)[0] for reader in readers), strict=True):
        np.testing.assert_array_equal(one, other, strict=True)
    assert isinstance(mapped.images, np.memmap)
    assert mapped.images.dtype == np.uint8
    np.testing.assert_array_equal(mapped.images, examples.images)


def shifts(number: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 3, (2, number))


def test_all_shifts_are_equally_frequent() -> None:
    dot = np.zeros((9000, 5, 5, 1), np.uint8)
    dot[:, 2, 2] = 1
    moved = shift_images(dot, 1, *shifts(9000))
    assert (moved.shape, moved.dtype) == (dot.shape, dot.dtype)
    positions = moved.sum(axis=0)[..., 0]
    assert positions[1:4, 1:4].min() > 900
    assert positions[1:4, 1:4].sum() == 9000


@pytest.mark.parametrize(("top", "left", "place"), [(0, 0, (2, 3)), (2, 1, (0, 2)), (1, 2, (1, 1)), (1, 1, (1, 2))])
def test_the_channels_of_an_image_move_together(top: int, left: int, place: tuple[int, int]) -> None:
    image = np.zeros((1, 3, 5, 3), np.uint8)
    image[0, 1, 2] = (1, 2, 3)
    expected = np.zeros_like(image)
    expected[0][place] = (1, 2, 3)
    np.testing.assert_array_equal(shift_images(image, 1, np.array([top]), np.array([left])), expected, strict=True)


def test_zeros_fill_the_border_of_a_moved_image() -> None:
    ones = np.ones((500, 4, 4, 1), np.uint8)
    sums = {int(image.sum()) for image in shift_images(ones, 1, *shifts(500))}
    assert sums == {16, 12, 9}
