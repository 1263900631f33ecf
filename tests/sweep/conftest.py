from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from image_classifier.config.compose import compose, resolve
from image_classifier.config.schema import Train
from image_classifier.sweep import bind_to_localhost

bind_to_localhost()  # before a test imports Ray


@pytest.fixture(scope="session")
def trial_config() -> Train:
    """The configuration of a trial with three epochs."""
    return resolve(Train, compose("train", ["epochs=3", "run=trial", "sweep=asha"]))


@pytest.fixture(scope="session")
def ray_on_this_machine(trial_config: Train) -> Iterator[None]:
    """Ray, started once for all tests."""
    from image_classifier.sweep.engine import cluster

    with cluster(trial_config.sweep, "sqlite:////tmp/unused.db"):
        yield


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables: to copy it is much faster than to create it."""
    database = tmp_path_factory.mktemp("database") / "mlflow.db"
    MlflowClient(f"sqlite:///{database}").search_experiments(max_results=1)
    return database
