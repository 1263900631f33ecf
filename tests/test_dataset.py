import json
from pathlib import Path

import numpy as np
import pytest
from data_helpers import save

from image_classifier.dataset import (
    Examples,
    load_examples,
    load_for_training,
    read_array,
    read_arrays,
    read_classes,
    scale_pixels,
)
from image_classifier.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A prepared data set of 6 training and 2 test images of one pixel, each with its number as its value."""
    images = np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1)
    labels = np.array([0, 1, 0, 1, 0, 1], np.uint8)
    arrays = {"train_images": images, "train_labels": labels, "test_images": images[:2] + np.uint8(10)}
    folder = save(tmp_path / "pets", {**arrays, "test_labels": labels[:2]})
    (folder / "dataset.json").write_text(json.dumps({"classes": ["café", "dog"]}))
    return folder


def pixels(examples: Examples) -> list[int]:
    return [int(pixel) for pixel in examples.images.ravel()]


def test_pixels_are_scaled_to_0_to_1() -> None:
    scaled = scale_pixels(np.array([0, 51, 255], np.uint8))
    np.testing.assert_array_equal(scaled, np.array([0, 0.2, 1], np.float32), strict=True)


def test_images_labels_and_classes_are_loaded_and_images_are_not_read_yet(folder: Path) -> None:
    test = load_examples(folder, "test")
    assert isinstance(test.images, np.memmap)
    assert test.images.dtype == np.uint8
    assert (pixels(test), test.labels.tolist(), test.classes) == ([10, 11], [0, 1], ("café", "dog"))


def test_a_part_of_the_examples_keeps_their_classes(folder: Path) -> None:
    part = load_examples(folder, "train")[2:4]
    assert (len(part), pixels(part), part.labels.tolist(), part.classes) == (2, [2, 3], [0, 1], ("café", "dog"))


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00v\x00{'descr'"])
def test_a_file_that_is_not_an_array_is_named_with_the_remedy(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "images.npy"
    file.write_bytes(content)
    with pytest.raises(InputError, match=rf"^{file} is damaged \(.*\)\. Delete it and make it again: dvc repro$"):
        read_array(file)


def test_a_truncated_array_is_named(folder: Path) -> None:
    file = folder / "train_images.npy"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InputError, match=rf"^{file} is damaged"):
        load_examples(folder, "train")


def test_an_array_of_python_objects_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "labels.npy", np.array([{}], object))
    with pytest.raises(InputError, match=r"labels\.npy is damaged .*Python objects"):
        read_array(tmp_path / "labels.npy")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"classes": 3}', "\0"])
def test_damaged_classes_are_named(folder: Path, text: str) -> None:
    file = folder / "dataset.json"
    file.write_text(text)
    with pytest.raises(InputError, match=rf"^{file} is damaged \("):
        read_classes(folder)


@pytest.mark.parametrize("name", ["train_images.npy", "train_labels.npy", "dataset.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        load_examples(folder, "train")


def test_a_truncated_npz_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "predictions.npz"
    np.savez(file, probabilities=np.zeros(1000), labels=np.zeros(1000))
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(InputError, match=rf"^{file} is damaged"):
        read_arrays(file, ["labels"])


def test_an_npz_file_without_the_array_is_named(tmp_path: Path) -> None:
    file = tmp_path / "predictions.npz"
    np.savez(file, probabilities=np.zeros(10))
    with pytest.raises(InputError, match=rf"^{file} is damaged .*labels"):
        read_arrays(file, ["labels"])


def test_a_pickle_in_an_npz_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "predictions.npz"
    np.savez(file, labels=np.array([{}], object))
    with pytest.raises(InputError, match=rf"^{file} is damaged .*pickle"):
        read_arrays(file, ["labels"])


@pytest.mark.parametrize("size", [2, 1 / 3, 0.4])
def test_the_last_training_images_are_held_out_by_their_number_or_share(folder: Path, size: float) -> None:
    training, validation = load_for_training(folder, size)
    assert (pixels(training), pixels(validation)) == ([0, 1, 2, 3], [4, 5])
    assert (training.labels.tolist(), validation.labels.tolist()) == ([0, 1, 0, 1], [0, 1])


def test_the_test_images_validate_when_none_are_held_out(folder: Path) -> None:
    training, validation = load_for_training(folder, 0)
    assert (pixels(training), pixels(validation)) == ([0, 1, 2, 3, 4, 5], [10, 11])


def test_the_test_images_are_not_read_when_some_are_held_out(folder: Path) -> None:
    (folder / "test_images.npy").unlink()
    assert len(load_for_training(folder, 0.5)[1]) == 3


@pytest.mark.parametrize(("size", "held_out"), [(6, 6), (7, 7), (0.99, 6), (0.01, 0)])
def test_holding_out_all_images_or_none_is_refused(folder: Path, size: float, held_out: int) -> None:
    with pytest.raises(InputError, match=rf"^validation\.size={size}: {held_out} of the 6 training images would be "):
        load_for_training(folder, size)
