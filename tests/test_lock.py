"""Whether the results in git are those of the code and the values in git."""

import hashlib
from typing import Any

import yaml

from mnist_cnn import paths
from mnist_cnn.configuration import load_table

STAGES: dict[str, dict[str, Any]] = yaml.safe_load(paths.DVC_LOCK.read_text())["stages"]


def test_dvc_lock_has_every_file_as_it_is() -> None:
    known = {entry["path"]: entry["md5"] for stage in STAGES.values() for entry in stage["deps"] + stage["outs"]}
    files = {path: paths.ROOT / path for path in known if (paths.ROOT / path).is_file()}
    assert {"conf/train.yaml", "src/mnist_cnn/training.py", "reports/comparison.md"} <= set(files)
    changed = [
        path
        for path, file in files.items()
        if hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest() != known[path]
    ]
    assert not changed, "dvc repro"


def test_dvc_lock_has_the_runs_of_params_yaml() -> None:
    rows = {name: row.model_dump() for name, row in load_table(paths.PARAMS).items()}
    assert STAGES["compare"]["params"]["params.yaml"]["runs"] == rows, "dvc repro"
