from collections.abc import Iterator

import pytest

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
