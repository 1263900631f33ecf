"""IDX and .npz files of tiny arrays, good and bad."""

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from image_classifier.dataset import ARRAY_NAMES, Arrays
from image_classifier.errors import InputError
from image_classifier.fetch.arrays import read_idx, read_npz

MNIST_FILES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}


def tiny(first_label: int = 0) -> Arrays:
    """Return 6 training and 4 test images of 2 classes, 5 x 4 pixels."""
    images = np.random.default_rng(0).integers(0, 256, (10, 5, 4), np.uint8)
    labels = np.array([0, 1, 1, 0, 1, 0, 1, 0, 0, 1], np.uint8) + np.uint8(first_label)
    return dict(zip(ARRAY_NAMES, (images[:6], labels[:6], images[6:], labels[6:]), strict=True))


TINY = tiny()


def idx(array: np.ndarray, type_code: int = 8) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, type_code, array.ndim, *array.shape) + array.tobytes()


def write_idx(folder: Path, arrays: Arrays, names: dict[str, str] = MNIST_FILES, suffix: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    for name, array in arrays.items():
        content = gzip.compress(idx(array)) if suffix else idx(array)
        (folder / f"{names[name]}{suffix}").write_bytes(content)
    return folder


def assert_same(arrays: Arrays, expected: Arrays) -> None:
    assert list(arrays) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(arrays[name], array, strict=True)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ("train", "emnist-letters-train"),
        ("t10k", "emnist-letters-test"),
        ("-idx", ".idx"),
    ],
)
def test_arrays_in_idx_files_come_back_equal(suffix: str, old: str, new: str, tmp_path: Path) -> None:
    names = {array: name.replace(old, new) if old else name for array, name in MNIST_FILES.items()}
    arrays, classes = read_idx(write_idx(tmp_path, TINY, names, suffix))
    assert_same(arrays, TINY)
    assert classes == ["0", "1"]


def test_mnist_rewritten_as_idx_files_comes_back_equal(raw: Arrays, tmp_path: Path) -> None:
    few = {name: array[:200] for name, array in raw.items()}
    arrays, classes = read_idx(write_idx(tmp_path, few))
    assert_same(arrays, few)
    assert classes == list("0123456789")


def test_labels_that_begin_at_1_become_positions(tmp_path: Path) -> None:
    arrays, classes = read_idx(write_idx(tmp_path, tiny(first_label=1)))
    assert_same(arrays, TINY)
    assert classes == ["1", "2"]


def test_a_file_beside_its_compressed_form_is_preferred(tmp_path: Path) -> None:
    write_idx(tmp_path, TINY)
    for name in MNIST_FILES.values():
        (tmp_path / f"{name}.gz").write_bytes(b"damaged")
    assert_same(read_idx(tmp_path)[0], TINY)


def damaged(folder: Path, array: str, content: bytes, suffix: str = "") -> None:
    (folder / MNIST_FILES[array]).unlink()
    (folder / f"{MNIST_FILES[array]}{suffix}").write_bytes(content)


IMAGES = TINY["train_images"]


@pytest.mark.parametrize(
    ("array", "content", "suffix", "message"),
    [
        ("train_images", b"", "", "/train-images-idx3-ubyte is damaged (unpack_from requires a buffer of at least 4 "),
        (
            "train_images",
            idx(IMAGES)[:-1],
            "",
            "/train-images-idx3-ubyte is damaged (cannot reshape array of size 119 ",
        ),
        ("train_images", idx(IMAGES)[:10], "", "/train-images-idx3-ubyte is damaged (unpack_from requires a buffer"),
        (
            "train_images",
            idx(IMAGES) + b"x",
            "",
            "/train-images-idx3-ubyte is damaged (cannot reshape array of size 121",
        ),
        (
            "train_images",
            idx(IMAGES, 13),
            "",
            "/train-images-idx3-ubyte is not an IDX file of uint8. Write it with the ",
        ),
        ("train_images", b"<!doctype html>", "", "/train-images-idx3-ubyte is not an IDX file of uint8."),
        (
            "test_labels",
            b"<html>",
            ".gz",
            "/t10k-labels-idx1-ubyte.gz is damaged (Not a gzipped file (b'<h')). Copy or ",
        ),
        ("test_images", gzip.compress(idx(IMAGES))[:-30], ".gz", "/t10k-images-idx3-ubyte.gz is damaged (Compressed "),
        ("test_images", idx(IMAGES[:, :4]), "", ": the images have the shapes (4, 4) and (5, 4). Use one shape."),
        ("test_images", idx(IMAGES[:, 0]), "", ": test_images has the shape (6, 4). It should be (n, height, width), "),
        ("test_images", idx(IMAGES[:0]), "", ": test_images has the shape (0, 5, 4). "),
        (
            "test_labels",
            idx(np.zeros(3, np.uint8)),
            "",
            ": test_labels has the shape (3,). It should be (4,): one label ",
        ),
        ("test_labels", idx(np.zeros(4, np.uint8)), "", ": the test part has no picture of the class 1. Add one."),
        (
            "test_labels",
            idx(np.arange(4, dtype=np.uint8)),
            "",
            ": the train part has no picture of the class 2. Add one.",
        ),
    ],
)
def test_a_bad_idx_file_is_refused_in_one_line(
    array: str, content: bytes, suffix: str, message: str, tmp_path: Path
) -> None:
    damaged(write_idx(tmp_path, TINY), array, content, suffix)
    with pytest.raises(InputError) as raised:
        read_idx(tmp_path)
    assert str(raised.value).startswith(f"{tmp_path}{message}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("array", ARRAY_NAMES)
def test_a_missing_idx_file_is_named(array: str, tmp_path: Path) -> None:
    write_idx(tmp_path, TINY)
    (tmp_path / MNIST_FILES[array]).unlink()
    with pytest.raises(InputError, match=rf"has no file {MNIST_FILES[array]} or {MNIST_FILES[array]}\.gz\. Add it\.$"):
        read_idx(tmp_path)


def test_the_files_of_two_data_sets_in_one_folder_are_refused(tmp_path: Path) -> None:
    write_idx(tmp_path, TINY)
    (tmp_path / "emnist-digits-train-images-idx3-ubyte.gz").write_bytes(b"")
    with pytest.raises(InputError, match=r"Keep the files of one data set\.$"):
        read_idx(tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing does not exist\. Name the folder of IDX files\.$"):
        read_idx(tmp_path / "missing")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (ARRAY_NAMES, ARRAY_NAMES),
        (("x_train", "y_train", "x_test", "y_test"), ARRAY_NAMES),
        (("images", "labels"), ("images", "labels")),
        (("x", "y"), ("images", "labels")),
    ],
)
def test_the_usual_names_of_arrays_are_known(names: tuple[str, ...], expected: tuple[str, ...], tmp_path: Path) -> None:
    values = list(TINY.values())[: len(names)]
    stored: dict[str, Any] = {**dict(zip(names, values, strict=True)), "comment": np.array("mine")}
    np.savez_compressed(tmp_path / "data.npz", **stored)
    arrays, classes = read_npz(tmp_path / "data.npz")
    assert_same(arrays, dict(zip(expected, values, strict=True)))
    assert classes == ["0", "1"]


@pytest.mark.parametrize("shape", [(6, 5, 4, 1), (2, 5, 4, 3)])
def test_images_keep_their_channels(shape: tuple[int, ...], tmp_path: Path) -> None:
    images = IMAGES.ravel()[: np.prod(shape)].reshape(shape)
    np.savez(tmp_path / "data.npz", images=np.concatenate([images, images]), labels=np.arange(2 * len(images)) % 2)
    assert read_npz(tmp_path / "data.npz")[0]["images"].shape == (2 * len(images), *shape[1:])


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["dog", "cat", "dog", "cat", "dog", "cat"], ["cat", "dog"]),
        ([10, 9, 10, 9, 10, 9], ["9", "10"]),
        ([3, -1, 3, -1, 3, -1], ["-1", "3"]),
    ],
)
def test_labels_become_positions_in_the_ascending_classes(
    labels: list[Any], classes: list[str], tmp_path: Path
) -> None:
    np.savez(tmp_path / "data.npz", images=IMAGES, labels=labels)
    arrays, found = read_npz(tmp_path / "data.npz")
    np.testing.assert_array_equal(arrays["labels"], np.array([1, 0, 1, 0, 1, 0], np.uint8), strict=True)
    assert found == classes


def test_labels_of_more_than_256_classes_have_16_bits(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.zeros((600, 2, 2), np.uint8), y=np.arange(600) // 2)
    arrays, _ = read_npz(tmp_path / "data.npz")
    np.testing.assert_array_equal(arrays["labels"], np.arange(600, dtype=np.uint16) // 2, strict=True)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {},
            " has the arrays (none). Name them train_images, train_labels, test_images, test_labels; or images, label",
        ),
        ({"a": IMAGES, "b": IMAGES}, " has the arrays a, b. Name them train_images, "),
        ({"x_train": IMAGES, "y_train": IMAGES}, " has the arrays x_train, y_train. Name them "),
        ({"x": IMAGES / 255}, ": images has the type float64. Convert the pixels to uint8 from 0 to 255."),
        ({"x": IMAGES.astype(np.int64)}, ": images has the type int64. Convert the pixels to uint8 from 0 to 255."),
        ({"x": IMAGES > 0}, ": images has the type bool. Convert the pixels "),
        (
            {"x": IMAGES.reshape(6, 20)},
            ": images has the shape (6, 20). It should be (n, height, width), with a last axis ",
        ),
        ({"x": IMAGES.reshape(6, 5, 2, 2)}, ": images has the shape (6, 5, 2, 2). "),
        ({"x": IMAGES[..., :0]}, ": images has the shape (6, 5, 0). "),
        ({"x": np.uint8(3)}, ": images has the shape (). "),
        ({"y": np.zeros(5, int)}, ": labels has the shape (5,). It should be (6,): one label per image."),
        ({"y": np.eye(6, dtype=int)}, ": labels has the shape (6, 6). It should be (6,): one label per image."),
        ({"y": np.arange(6) / 2}, ": labels has the type float64. Convert the labels to integers or texts."),
        ({"y": [b"a", b"b"] * 3}, ": labels has the type |S1. Convert the labels to integers or texts."),
        ({"y": np.zeros(6, int)}, " has fewer than two classes (0). Add pictures of others."),
        ({"y": np.array([0, 0, 0, 0, 0, 1])}, ": the class 1 has a single picture. Add another one: "),
        ({"y": ["a", "a", "A", "A", "b", "b"]}, ": the classes 'A' and 'a' differ only in case or Unicode form. "),
        (
            {"y": np.array(["a", 1] * 3, object)},
            " cannot be read (Object arrays cannot be loaded when allow_pickle=False)",
        ),
    ],
)
def test_bad_arrays_are_refused_in_one_line(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    file = tmp_path / "data.npz"
    good = {"x": IMAGES, "y": TINY["train_labels"]}
    np.savez(file, **({**good, **arrays} if set(arrays) & set(good) else arrays))
    with pytest.raises(InputError) as raised:
        read_npz(file)
    assert str(raised.value).startswith(f"{file}{message}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("change", ["truncated", "text", "empty", "npy", "flipped"])
def test_a_damaged_npz_file_is_refused(change: str, tmp_path: Path) -> None:
    file = tmp_path / "data.npz"
    np.savez_compressed(file, x=IMAGES, y=TINY["train_labels"])
    content = file.read_bytes()
    middle = len(content) // 4
    flipped = content[:middle] + bytes(byte ^ 255 for byte in content[middle : middle + 20]) + content[middle + 20 :]
    np.save(tmp_path / "data.npy", IMAGES)
    npy = (tmp_path / "data.npy").read_bytes()
    changed = {"truncated": content[:-50], "text": b"x,y\n", "empty": b"", "npy": npy, "flipped": flipped}
    file.write_bytes(changed[change])
    with pytest.raises(
        InputError, match=r"data\.npz cannot be read \(.*\)\. Save it again with numpy\.savez, labels as "
    ):
        read_npz(file)


def test_a_missing_npz_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.npz does not exist\. Name an \.npz file\.$"):
        read_npz(tmp_path / "missing.npz")
