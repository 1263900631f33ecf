"""Every form of a source, from its files to the folder of raw images."""

import csv
import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_helpers import describe, tiny
from PIL import Image

from image_classifier.config.schema import Data
from image_classifier.dataset import ARRAY_NAMES, Arrays
from image_classifier.errors import InputError
from image_classifier.fetch.sources import fetch
from image_classifier.files import atomic_folder

PARTS = {"train/cat/1.png": 10, "train/dog/1.png": 20, "test/cat/1.png": 30, "test/dog/1.png": 40}
WHOLE = {"cat/1.png": 10, "cat/2.png": 20, "dog/1.png": 30, "dog/2.png": 40}


def fetched(tmp_path: Path, data: Data, path: Path) -> tuple[int, Arrays]:
    """Fetch a data set, and return the number of its images and its arrays."""
    with atomic_folder(tmp_path / "raw") as folder:
        images = fetch(data, path, folder)
    return images, {file.stem: np.load(file) for file in sorted((tmp_path / "raw").glob("*.npy"))}


def make_pictures(folder: Path, levels: dict[str, int], mode: str = "L") -> Path:
    """Make a folder of pictures of one colour each, 5 x 4 pixels."""
    for name, level in levels.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, (4, 5), level if mode == "L" else (level, 0, 255)).save(folder / name)
    return folder


def levels(images: np.ndarray) -> list[int]:
    assert all((image == image.flat[0]).all() for image in images)
    return [int(image.flat[0]) for image in images]


def test_folders_of_pictures_become_arrays_with_a_channel(tmp_path: Path) -> None:
    images, arrays = fetched(tmp_path, describe("image_folder"), make_pictures(tmp_path / "pets", WHOLE))
    assert images == 4
    assert list(arrays) == ["images", "labels"]
    assert arrays["images"].shape == (4, 5, 4, 1)
    assert arrays["images"].dtype == np.uint8
    assert (levels(arrays["images"]), arrays["labels"].tolist()) == ([10, 20, 30, 40], [0, 0, 1, 1])


def test_pictures_that_are_left_out_are_not_counted(tmp_path: Path) -> None:
    folder = make_pictures(tmp_path / "pets", WHOLE)
    (folder / "cat/1.png").write_bytes(b"")
    data = describe("image_folder", source={"form": "image_folder", "skip_unreadable": True})
    images, arrays = fetched(tmp_path, data, folder)
    assert images == len(arrays["images"]) == 3


def test_pictures_with_a_split_of_their_own_become_two_parts(tmp_path: Path) -> None:
    images, arrays = fetched(tmp_path, describe("image_folder"), make_pictures(tmp_path / "pets", PARTS))
    assert images == 4
    assert sorted(arrays) == sorted(ARRAY_NAMES)
    assert [levels(arrays[f"{part}_images"]) for part in ("train", "test")] == [[10, 20], [30, 40]]


def test_colour_pictures_have_three_channels(tmp_path: Path) -> None:
    pictures = make_pictures(tmp_path / "pets", WHOLE, mode="RGB")
    _, arrays = fetched(tmp_path, describe("image_folder", color="rgb"), pictures)
    assert arrays["images"].shape == (4, 5, 4, 3)
    assert arrays["images"][0, 0, 0].tolist() == [10, 0, 255]


def test_the_order_of_the_classes_is_that_of_the_description(tmp_path: Path) -> None:
    data = describe("image_folder", classes=["dog", "cat"])
    _, arrays = fetched(tmp_path, data, make_pictures(tmp_path / "pets", WHOLE))
    assert (levels(arrays["images"]), arrays["labels"].tolist()) == ([10, 20, 30, 40], [1, 1, 0, 0])


def test_pictures_of_a_csv_file_become_arrays(tmp_path: Path) -> None:
    folder = make_pictures(tmp_path / "pets", {f"{number}.png": number for number in range(4)})
    with (folder / "labels.csv").open("w", newline="") as file:
        rows = [[f"{number}.png", "cat" if number % 2 else "dog"] for number in range(4)]
        csv.writer(file).writerows([["path", "label"], *rows])
    images, arrays = fetched(tmp_path, describe("csv"), folder / "labels.csv")
    assert images == 4
    assert (levels(arrays["images"]), arrays["labels"].tolist()) == ([0, 1, 2, 3], [1, 0, 1, 0])


def write_idx(folder: Path) -> Path:
    names = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
    folder.mkdir()
    for name, array in zip(names, tiny().values(), strict=True):
        header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
        (folder / f"{name}.gz").write_bytes(gzip.compress(header + array.tobytes()))
    return folder


def test_idx_files_keep_their_images_and_labels(tmp_path: Path) -> None:
    images, arrays = fetched(tmp_path, describe("idx", classes=["0", "1"]), write_idx(tmp_path / "files"))
    assert images == 10
    for name, array in tiny().items():
        np.testing.assert_array_equal(arrays[name], array, strict=True)


def write_npz(tmp_path: Path, size: tuple[int, ...] = (5, 4)) -> Path:
    arrays = tiny(size)
    labels = {name: np.array(["cat", "dog"])[arrays[name]] for name in ("train_labels", "test_labels")}
    np.savez(tmp_path / "pets.npz", allow_pickle=False, **{**arrays, **labels})
    return tmp_path / "pets.npz"


@pytest.mark.parametrize(
    ("size", "color"), [((5, 4), "gray"), ((5, 4, 1), "gray"), ((5, 4, 3), "rgb")], ids=["no axis", "gray", "rgb"]
)
def test_arrays_of_an_npz_file_keep_their_images(tmp_path: Path, size: tuple[int, ...], color: str) -> None:
    images, arrays = fetched(tmp_path, describe("npz", color=color), write_npz(tmp_path, size))
    assert images == 10
    for name, array in tiny(size).items():
        np.testing.assert_array_equal(arrays[name], array, strict=True)


def test_labels_of_arrays_are_positions_in_the_classes_of_the_description(tmp_path: Path) -> None:
    _, arrays = fetched(tmp_path, describe("npz", classes=["dog", "cat"]), write_npz(tmp_path))
    for name in ("train_labels", "test_labels"):
        np.testing.assert_array_equal(arrays[name], 1 - tiny()[name], strict=True)


def test_an_npz_file_without_a_split_becomes_one_part(tmp_path: Path) -> None:
    images = tiny()["train_images"]
    np.savez(tmp_path / "pets.npz", images=images, labels=np.array(["cat", "dog"] * 3))
    number, arrays = fetched(tmp_path, describe("npz"), tmp_path / "pets.npz")
    assert number == 6
    assert list(arrays) == ["images", "labels"]
    assert arrays["labels"].tolist() == [0, 1] * 3


@pytest.mark.parametrize("form", ["image_folder", "npz"])
@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["cat", "bird"], "classes lacks dog. Correct the list."),
        (["ant", "bird", "cat", "dog"], "classes has, and the images lack, ant, bird. Correct the list."),
    ],
)
def test_other_classes_are_refused_with_the_file_and_their_names(
    tmp_path: Path, form: str, classes: list[str], message: str
) -> None:
    path = make_pictures(tmp_path / "pets", WHOLE) if form == "image_folder" else write_npz(tmp_path)
    with pytest.raises(InputError) as raised:
        fetched(tmp_path, describe(form, classes=classes), path)
    assert str(raised.value) == f"conf/data/pets.yaml: {message}"
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize("values", [{"image_size": [4, 5]}, {"color": "rgb"}])
def test_arrays_of_another_shape_are_refused_with_the_file_and_the_shape(
    tmp_path: Path, values: dict[str, Any]
) -> None:
    with pytest.raises(InputError) as raised:
        fetched(tmp_path, describe("npz", **values), write_npz(tmp_path))
    assert str(raised.value) == "conf/data/pets.yaml: image_size and color do not fit the images: (5, 4, 1)."
    assert not (tmp_path / "raw").exists()


def test_mnist_needs_no_path(tmp_path: Path, data_config: Data, digests: dict[str, str]) -> None:
    images, arrays = fetched(tmp_path, data_config, Path("conf/data/mnist.yaml"))
    assert images == 70_000
    assert sorted(arrays) == sorted(digests)
    assert arrays["train_images"].shape == (60_000, 28, 28)
