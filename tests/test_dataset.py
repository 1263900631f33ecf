from pathlib import Path

import numpy as np
import pytest

from mnist_cnn import dataset
from mnist_cnn.errors import InputError


def test_pixels_are_scaled_to_0_to_1_and_labels_are_kept(npz: Path) -> None:
    np.savez(npz, test_images=np.array([[[[0], [51], [255]]]], np.uint8), test_labels=np.array([7], np.uint8))
    test = dataset.load(npz, "test")
    assert test.images.dtype == np.float32
    np.testing.assert_array_equal(test.images.ravel(), np.array([0, 0.2, 1], np.float32))
    assert test.labels.tolist() == [7]


def test_a_truncated_file_is_named(npz: Path) -> None:
    np.savez(npz, test_images=np.zeros(1000), test_labels=np.zeros(1000))
    npz.write_bytes(npz.read_bytes()[:5000])
    with pytest.raises(InputError, match=rf"^{npz} is damaged"):
        dataset.load(npz, "test")


def test_a_file_without_the_array_is_named(npz: Path) -> None:
    np.savez(npz, test_images=np.zeros(10))
    with pytest.raises(InputError, match=rf"^{npz} is damaged .*test_labels"):
        dataset.load(npz, "test")


def test_a_pickle_is_refused(npz: Path) -> None:
    np.savez(npz, test_images=np.array([{}], object), test_labels=np.zeros(1))
    with pytest.raises(InputError, match=rf"^{npz} is damaged .*pickle"):
        dataset.load(npz, "test")


def save_counted(npz: Path) -> None:
    images = np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1)
    np.savez(npz, train_images=images, train_labels=images.ravel(), test_images=images[:2] + 10, test_labels=[9, 9])


def test_an_image_is_moved_by_up_to_so_many_pixels_in_both_directions_and_each_way_is_equally_frequent() -> None:
    dot = np.zeros((9000, 5, 5, 1), np.float32)
    dot[:, 2, 2] = 1
    moved = dataset.shift(dot, 1, np.random.default_rng(1))
    assert (moved.shape, moved.dtype) == (dot.shape, dot.dtype)
    positions = moved.sum(axis=0)[..., 0]
    assert positions[1:4, 1:4].min() > 900
    assert positions[1:4, 1:4].sum() == 9000


def test_what_leaves_an_image_is_lost_and_zeros_move_in() -> None:
    ones = np.ones((500, 4, 4, 1), np.float32)
    kept = {int(image.sum()) for image in dataset.shift(ones, 1, np.random.default_rng(1))}
    assert kept == {16, 12, 9}


def test_the_last_training_images_are_held_out(npz: Path) -> None:
    save_counted(npz)
    training, validation = dataset.load_for_training(npz, held_out=2)
    assert training.labels.tolist() == [0, 1, 2, 3]
    assert validation.labels.tolist() == [4, 5]
    np.testing.assert_allclose(validation.images.ravel() * 255, [4, 5])


def test_the_test_images_validate_when_none_are_held_out(npz: Path) -> None:
    save_counted(npz)
    training, validation = dataset.load_for_training(npz, held_out=0)
    assert (len(training.labels), validation.labels.tolist()) == (6, [9, 9])


def test_holding_out_all_images_is_refused(npz: Path) -> None:
    save_counted(npz)
    with pytest.raises(InputError, match=r"^validation\.held_out=6: should be less than the 6 images$"):
        dataset.load_for_training(npz, held_out=6)
