"""Preparation of raw arrays, and the description of the prepared data set."""

from pathlib import Path

import numpy as np
import pytest
from data_helpers import describe, save, tiny

from image_classifier.config.schema import Data
from image_classifier.dataset import ARRAY_NAMES, Arrays, Examples, load_examples
from image_classifier.errors import InputError
from image_classifier.prepare.examples import describe_dataset, describe_examples, prepare_examples
from image_classifier.prepare.split import split_by_content, split_raw


@pytest.fixture(scope="module")
def raw_mnist(raw: Arrays, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("raw") / "mnist", raw)


def limited(data: Data, train: int, test: int) -> Data:
    return data.model_copy(update={"train_examples": train, "test_examples": test})


def prepared(data: Data, raw: Path, folder: Path) -> tuple[Examples, Examples]:
    """Prepare a data set, and return its training and test part."""
    folder.mkdir(exist_ok=True)
    prepare_examples(data, raw, folder)
    return load_examples(folder, "train"), load_examples(folder, "test")


def test_preparing_keeps_the_first_examples_and_adds_a_channel(
    raw: Arrays, raw_mnist: Path, data_config: Data, tmp_path: Path
) -> None:
    train, test = prepared(limited(data_config, 300, 200), raw_mnist, tmp_path)
    assert train.images.shape == (300, 28, 28, 1)
    assert test.images.dtype == np.uint8
    assert test.classes == tuple(data_config.classes)
    np.testing.assert_array_equal(test.images[..., 0], raw["test_images"][:200])
    np.testing.assert_array_equal(test.labels, raw["test_labels"][:200])


def test_images_that_are_not_mnist_are_refused(raw: Arrays, data_config: Data, tmp_path: Path) -> None:
    folder = save(tmp_path / "raw", {**raw, "test_labels": raw["test_labels"][::-1]})
    with pytest.raises(InputError, match=rf"^{folder}: test_labels is not MNIST"):
        prepared(data_config, folder, tmp_path / "out")


@pytest.mark.parametrize(("train", "test", "named"), [(5, 200, "train_examples=5"), (300, 20, "test_examples=20")])
def test_a_missing_class_among_the_selected_examples_is_refused(
    raw_mnist: Path, data_config: Data, tmp_path: Path, train: int, test: int, named: str
) -> None:
    with pytest.raises(InputError, match=rf"^data\.{named}: no image has the classes \d(, \d)*\. Choose a greater"):
        prepared(limited(data_config, train, test), raw_mnist, tmp_path)


def test_more_images_than_there_are_are_refused(tmp_path: Path) -> None:
    raw = save(tmp_path / "raw", tiny())
    count = len(tiny()["test_labels"])
    data = describe("npz").model_copy(update={"test_examples": count + 1})
    with pytest.raises(InputError, match=rf"^data\.test_examples={count + 1}: there are only {count} images\."):
        prepared(data, raw, tmp_path / "out")


def test_images_of_several_chunks_keep_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("image_classifier.prepare.examples.CHUNK", 4)
    train, _ = prepared(describe("npz"), save(tmp_path / "raw", tiny()), tmp_path / "out")
    np.testing.assert_array_equal(train.images[..., 0], tiny()["train_images"])


@pytest.mark.parametrize("form", ["idx", "npz"])
def test_arrays_with_a_split_keep_their_order(tmp_path: Path, form: str) -> None:
    parts = prepared(describe(form), save(tmp_path / "raw", tiny()), tmp_path / "out")
    for part, name in zip(parts, ("train", "test"), strict=True):
        np.testing.assert_array_equal(part.images[..., 0], tiny()[f"{name}_images"])
        np.testing.assert_array_equal(part.labels, tiny()[f"{name}_labels"])


@pytest.mark.parametrize("form", ["image_folder", "csv"])
def test_pictures_with_a_split_are_shuffled_by_their_content(tmp_path: Path, form: str) -> None:
    arrays = tiny((5, 4, 1))  # with a channel, as `fetch` writes them
    raw = save(tmp_path / "raw", arrays)
    parts = prepared(describe(form), raw, tmp_path / "out")
    for part, (images, labels, order) in zip(parts, split_raw(describe(form), raw).values(), strict=True):
        assert order.tolist() != list(range(len(labels)))
        np.testing.assert_array_equal(part.images, images[order])
        np.testing.assert_array_equal(part.labels, labels[order])


@pytest.fixture
def unsplit(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """Raw colour images without a split."""
    images = np.random.default_rng(0).integers(0, 256, (60, 5, 4, 3), np.uint8)
    labels = (np.arange(60) >= 30).astype(np.uint8)
    return save(tmp_path / "raw", {"images": images, "labels": labels}), images, labels


def test_images_without_a_split_are_split_by_their_content(
    unsplit: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    raw, images, labels = unsplit
    data = describe("image_folder", color="rgb", test_fraction=0.3)
    for part, positions in zip(
        prepared(data, raw, tmp_path / "out"), split_by_content(images, labels, 0.3, data.classes), strict=True
    ):
        np.testing.assert_array_equal(part.images, images[positions])
        np.testing.assert_array_equal(part.labels, labels[positions])


def test_a_smaller_number_uses_the_first_images_of_the_split(
    unsplit: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    data = describe("image_folder", color="rgb", test_fraction=0.3)
    whole, _ = prepared(data, unsplit[0], tmp_path / "whole")
    first, _ = prepared(limited(data, 20, 10), unsplit[0], tmp_path / "first")
    np.testing.assert_array_equal(first.images, whole.images[:20])


def test_images_without_a_split_need_a_test_fraction(
    unsplit: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    with pytest.raises(InputError) as raised:
        prepared(describe("image_folder", color="rgb"), unsplit[0], tmp_path / "out")
    assert str(raised.value) == (
        "conf/data/pets.yaml: test_fraction: the data has no test images. Write 0.2, for example."
    )


def test_a_test_fraction_for_images_with_a_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        prepared(describe("npz", test_fraction=0.2), save(tmp_path / "raw", tiny()), tmp_path / "out")
    assert str(raised.value) == ("conf/data/pets.yaml: test_fraction: the data has test images of its own. Write null.")


@pytest.mark.parametrize("name", ARRAY_NAMES)
def test_a_missing_raw_file_is_named(tmp_path: Path, name: str) -> None:
    raw = save(tmp_path / "raw", tiny())
    (raw / f"{name}.npy").unlink()
    with pytest.raises(FileNotFoundError, match=rf"{name}\.npy"):
        prepared(describe("npz"), raw, tmp_path / "out")


@pytest.mark.parametrize("chunk", [7, 1000])
def test_the_description_agrees_with_numpy(examples: Examples, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr("image_classifier.prepare.examples.CHUNK", chunk)
    described, images = describe_examples(examples), examples.images
    assert described["examples"] == 200
    assert (described["pixel_minimum"], described["pixel_maximum"]) == (images.min(), images.max())
    assert described["pixel_mean"] == pytest.approx(images.mean(), abs=1e-4)
    assert described["pixel_standard_deviation"] == pytest.approx(images.std(), abs=1e-4)
    assert described["examples_per_class"] == {
        name: int((examples.labels == label).sum()) for label, name in enumerate(examples.classes)
    }


def test_the_description_has_the_form_of_the_images_and_both_parts(examples: Examples) -> None:
    described = describe_dataset(describe("npz"), examples, examples[:100])
    form = {"name": "pets", "classes": ["cat", "dog"], "image_shape": (5, 4, 1), "fit": "pad"}
    assert described.items() >= form.items()
    assert (described["train"]["examples"], described["test"]["examples"]) == (200, 100)
