"""Composition of the configuration with Hydra."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, ListConfig, MissingMandatoryValue, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from image_classifier import paths
from image_classifier.config.schema import STAGES, Compare, Data, Fetch, Params, Row, Schema, Train, validate
from image_classifier.errors import InputError
from image_classifier.files import read_text

# Files that a row names, and the files from which they may inherit: dvc.yaml lists no others as parameters of `train`.
ADMITTED_BASES: dict[str, tuple[str, ...]] = {"model": (), "optimizer": (), "training": ("default",)}


def resolve(schema: type[Schema], composed: DictConfig) -> Schema:
    """Check a composed configuration against a schema.

    Raises:
        InputError: A value is missing or invalid, or a file of conf/ cannot be read.
    """
    try:
        return validate(schema, OmegaConf.to_container(composed, resolve=True, throw_on_missing=True))
    except MissingMandatoryValue as error:
        raise InputError(f"{error.full_key} has no value: give {error.full_key}=… on the command line.") from None
    except OmegaConfBaseException as error:  # an interpolation fails
        reason = str(error).splitlines()[0].rpartition("raised while resolving interpolation: ")[2]
        raise InputError(f"{error.full_key}: {reason}") from None
    except InputError:
        check_files()
        raise


def compose(stage: str, overrides: list[str]) -> DictConfig:
    """Compose the configuration of a stage without running it.

    Raises:
        InputError: Hydra cannot compose it.
    """
    GlobalHydra.instance().clear()  # a stage composes its own configuration in the same process
    with translate_composition_errors(stage), hydra.initialize_config_dir(str(paths.CONF), version_base="1.3"):
        return hydra.compose(stage, overrides)


def load_conf_file(path: Path) -> dict[str, Any]:
    """Read params.yaml or a file of conf/, whose mistakes are the user's: a message names the line.

    Raises:
        InputError: The file is missing, not UTF-8 or not YAML, has no keys, or has a key twice.
    """
    name = path.relative_to(paths.ROOT) if path.is_relative_to(paths.ROOT) else path.name
    try:
        text = read_text(path)
    except FileNotFoundError:
        raise InputError(f"{name} is missing. {paths.remedy(path)}") from None
    try:
        is_mapping = isinstance(yaml.compose(text), yaml.MappingNode)  # OmegaConf takes a single word for a key
        values: Any = OmegaConf.to_container(OmegaConf.load(StringIO(text))) if is_mapping else {}  # no key twice
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise InputError(f"{name}, line {line}: {error.problem}. Correct the line.") from None
    except (yaml.YAMLError, OmegaConfBaseException, OSError) as error:
        raise InputError(f"{name} is not YAML: {' '.join(str(error).split())}. {paths.remedy(path)}") from None
    if not values:
        raise InputError(f"{name} has no keys with values. {paths.remedy(path)}")
    return dict(values)


def check_files() -> None:
    """Raise `InputError`, as `load_conf_file` does, for a file of conf/ that cannot be read."""
    for file in sorted(paths.CONF.rglob("*.yaml")):
        load_conf_file(file)


def load_params() -> Params:
    """Read params.yaml; raises `InputError` as `load_conf_file` and `validate` do."""
    return validate(Params, load_conf_file(paths.PARAMS), origin=f"{paths.PARAMS.name}: ")


def load_compare_config() -> Compare:
    """Compose the configuration of comparisons from conf/compare.yaml.

    Raises:
        InputError: A value is missing or cannot be used.
    """
    return resolve(Compare, compose("compare", []))


def load_data(name: str) -> Data:
    """Compose the description of a data set from conf/data/.

    Raises:
        InputError: There is no such file, or a value cannot be used.
    """
    composed = compose("fetch", [f"data={name}"])
    try:
        data = resolve(Fetch, composed).data
    except InputError as error:
        raise InputError(f"conf/data/{name}.yaml: {error}") from None
    if data.name != name:
        raise InputError(f"conf/data/{name}.yaml: name={data.name}: should be {name}, as the file")
    return data


# conf/model/ uses it as ${count:${data.classes}}. The schema refuses classes that are not a list.
OmegaConf.register_new_resolver("count", lambda classes: len(classes) if isinstance(classes, ListConfig) else 0)


def compose_run(run: str, row: Row) -> Train:
    """Compose the training of a row of params.yaml.

    Raises:
        InputError: A value of the row, or of a file that it names, cannot be used, or DVC would miss its changes.
    """
    try:
        train = resolve(Train, compose("train", row.overrides(run)))
        for group, admitted in ADMITTED_BASES.items():
            file = f"{group}/{getattr(row, group)}.yaml"
            values = load_conf_file(paths.CONF / file)
            bases = [str(base) for base in values.get("defaults", [])]
            missed = ", ".join(base for base in bases if base not in ("_self_", *admitted))
            if missed:
                raise InputError(f"conf/{file} inherits from {missed}, whose changes DVC would miss. Copy its values.")
    except InputError as error:
        raise InputError(f"params.yaml: runs.{run}: {error}") from None
    return train


def check_configuration() -> dict[str, Train]:
    """Check params.yaml and every file of conf/ that the stages and the rows use.

    Returns:
        The configuration of each row of params.yaml.

    Raises:
        InputError: A value cannot be used.
    """
    params = load_params()
    check_files()
    for stage, schema in STAGES.items():
        overrides = [f"run={next(iter(params.runs))}"] if "run" in schema.model_fields else []
        try:
            resolve(schema, compose(stage, overrides))
        except InputError as error:
            raise InputError(f"conf/{stage}.yaml: {error}") from None
    for name in params.datasets:
        load_data(name)
    return {run: compose_run(run, row) for run, row in params.runs.items()}


def is_pipeline_run(train: Train, table: dict[str, Row]) -> bool:
    """Return whether a training is a row of params.yaml.

    Raises:
        InputError: It has the name of a row and other values.
    """
    row = table.get(train.run)
    if row and train != compose_run(train.run, row):
        raise InputError(
            f"run={train.run} is a row of params.yaml with other values. "
            "Edit the row and type `dvc repro`, or choose another name for this run."
        )
    return row is not None


@contextmanager
def translate_composition_errors(stage: str) -> Iterator[None]:
    """Turn an error of Hydra in the block into an `InputError` that names the damaged file of conf/ or the choices."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        check_files()
        if isinstance(error, OSError) and not isinstance(error, HydraException):
            raise
        raise InputError(_describe_composition_error(error, stage)) from None


def _describe_composition_error(error: Exception, stage: str) -> str:
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        if group and error.options:
            choices = ", ".join(sorted(error.options))
            return f"Unknown {group} '{choice}'. Choose one of: {choices} (conf/{group}/)."
        return f"conf/{error.missing_cfg_file}.yaml is missing. Restore it: git checkout conf/"
    if isinstance(error, OverrideParseException):
        return f"Cannot read '{error.override}': give key=value, with quotes around special characters."
    if several := re.search(r"'(\S+)'.*--multirun", str(error), re.DOTALL):
        return f"'{several[1]}' has several values, which need -m: python -m pipelines.train -m …"
    if missing_group := re.match(r"Could not override '([^']+)'\.\s+No match in the defaults list", str(error)):
        return f"conf/{stage}.yaml has no group '{missing_group[1]}'."
    if (key := getattr(error.__cause__, "full_key", None)) and "not in struct" in str(error.__cause__):
        return f"Unknown key '{key}'. {_suggest_key(key, _keys(compose(stage, [])))}"
    return " ".join(str(error).split())


def _suggest_key(unknown: str, known: list[str]) -> str:
    """Return a sentence with the key that an unknown key was meant to be, or else with the known keys.

    Args:
        unknown: Key that the configuration does not have.
        known: Keys that it has with its default choices, such as training.seed.
    """
    if unknown in known:
        return "Not every choice of the groups on the command line has it."
    group, _, last = unknown.rpartition(".")
    siblings = {name.rpartition(".")[2]: name for name in known if group and name.rpartition(".")[0] == group}
    if siblings:
        close = [siblings[name] for name in get_close_matches(last, siblings)]
    else:
        groups = {name.partition(".")[0] for name in known}
        same_end = [name for name in known if name.rpartition(".")[2] == unknown]
        close = same_end or get_close_matches(unknown, [*known, *groups], n=1)
    return f"Did you mean '{close[0]}'?" if close else f"Known keys: {', '.join(siblings.values() or known)}."


def _keys(composed: DictConfig, prefix: str = "") -> list[str]:
    names = []
    for key, value in composed.items_ex(resolve=False):
        name = prefix + str(key)
        names += _keys(value, f"{name}.") if isinstance(value, DictConfig) else [name]
    return names
