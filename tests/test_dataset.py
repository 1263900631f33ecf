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
