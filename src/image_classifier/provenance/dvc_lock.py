"""Training results in dvc.lock."""

from pathlib import Path
from typing import Any

import yaml

from image_classifier.errors import InputError

Stage = dict[str, Any]  # an entry of dvc.lock


def locked_trainings(lock: str, params: str) -> dict[str, Stage]:
    """Return the `train` stage of each run whose evaluation used the same outputs.

    Args:
        lock: Text of dvc.lock.
        params: Text of params.yaml; dvc.lock keeps the stages of removed rows.

    Raises:
        InputError: One of the texts is not YAML.
    """
    try:
        stages = (yaml.safe_load(lock) or {}).get("stages", {})
        rows = (yaml.safe_load(params) or {}).get("runs", {})
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"dvc.lock or params.yaml is not YAML: {reason}. Restore it: git checkout …") from None
    trainings = {}
    for name, stage in stages.items():
        kind, _, run = name.partition("@")
        evaluated = stages.get(f"evaluate@{run}", {}).get("deps", [])
        if kind == "train" and run in rows and set(hashes(stage["outs"]).items()) <= set(hashes(evaluated).items()):
            trainings[run] = stage
    return trainings


def locked_outputs(stage: Stage) -> dict[str, str]:
    """Return file name and MD5 of each output of a stage."""
    return {Path(path).name: md5 for path, md5 in hashes(stage["outs"]).items()}


def locked_inputs(stage: Stage) -> list[str]:
    """Return the files of data, code and configuration values that a stage depends on."""
    return [*hashes(stage["deps"]), *stage.get("params", {})]


def hashes(entries: list[dict[str, str]]) -> dict[str, str]:
    """Return path and MD5 of the entries of `deps` or `outs`."""
    return {entry["path"]: entry["md5"] for entry in entries}
