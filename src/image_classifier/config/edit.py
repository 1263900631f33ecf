"""Editing of params.yaml."""

from collections.abc import Mapping

from omegaconf import OmegaConf
from pydantic import TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from image_classifier import paths
from image_classifier.config.schema import DatasetEntry, Row, RunName
from image_classifier.errors import InputError
from image_classifier.files import atomic_write


def check_new_name(name: str) -> None:
    """Raise `InputError` for a name that a new data set or run cannot have."""
    try:
        TypeAdapter(RunName).validate_python(name)
    except ValidationError:
        raise InputError(
            f"NAME={name}: should have at most 100 letters, digits, _ and -, and not begin with -."
        ) from None
    if not isinstance(OmegaConf.create(f"[{name}]")[0], str):
        raise InputError(f"NAME={name}: should not be a number or a word such as on, no, true and null.")


def add_to_params(*, datasets: Mapping[str, DatasetEntry] | None = None, runs: Mapping[str, Row]) -> None:
    """Add data sets and runs to params.yaml, whose comments are kept."""
    editor = YAML()
    editor.width = 120
    params = editor.load(paths.PARAMS.read_text(encoding="utf-8"))
    for key, entries in (("datasets", datasets or {}), ("runs", runs)):
        for name, entry in entries.items():
            params[key][name] = CommentedMap(entry.model_dump())
            params[key][name].fa.set_flow_style()
    with atomic_write(paths.PARAMS) as path:
        editor.dump(params, path)
