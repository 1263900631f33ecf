"""The results in git belong to the code and the configuration in git."""

from typing import Any

import yaml
from dvc.repo import Repo

from image_classifier import paths
from image_classifier.config.compose import load_params


def test_dvc_lock_has_the_current_code_and_configuration() -> None:
    with Repo(str(paths.ROOT)) as repository:
        assert not stale_entries(repository.status()), "dvc repro"


def test_dvc_lock_has_the_current_rows_of_params_yaml() -> None:
    lock = yaml.safe_load(paths.DVC_LOCK.read_text())
    params = load_params()
    rows = {name: row.model_dump() for name, row in params.runs.items()}
    for data in params.datasets:
        assert lock["stages"][f"compare@{data}"]["params"]["params.yaml"]["runs"] == rows, "dvc repro"


def stale_entries(status: dict[str, list[Any]]) -> list[str]:
    """List the changes in `dvc status`, except for data and outputs that a fresh clone does not have."""
    stale = []
    for stage, changes in status.items():
        for change in changes:
            if isinstance(change, str):  # "changed command"
                stale.append(f"{stage}: {change}")
                continue
            files = {path: how for kind in change.values() for path, how in kind.items()}
            stale += [f"{stage}: {path} {how}" for path, how in files.items() if how not in ("deleted", "not in cache")]
    return stale
