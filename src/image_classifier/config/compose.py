"""Composition of the configuration with Hydra."""

import re
from difflib import get_close_matches
from fractions import Fraction
from io import StringIO
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, MissingMandatoryValue, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from image_classifier import paths
from image_classifier.config.schema import STAGES, Data, Row, Schema, Table, Tracking, Train, validate
from image_classifier.dataset import read_arrays
from image_classifier.errors import InputError
from image_classifier.files import read_text
from image_classifier.paths import RunFiles

COMPOSITION_ERRORS = (HydraException, OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError, OSError)


def resolve(schema: type[Schema], composed: DictConfig, conf: Path = paths.CONF) -> Schema:
    """Check a composed configuration; raises `InputError` as `validate` does, or names the empty file behind it."""
    try:
        return validate(schema, OmegaConf.to_container(composed, resolve=True, throw_on_missing=True))
    except MissingMandatoryValue as error:
        raise InputError(f"{error.full_key} has no value: give {error.full_key}=… on the command line.") from None
    except OmegaConfBaseException as error:  # of an interpolation
        reason = str(error).splitlines()[0].rpartition("raised while resolving interpolation: ")[2]
        raise InputError(f"{error.full_key}: {reason}") from None
    except InputError:
        check_files(conf)
        raise


def compose(stage: str, overrides: list[str], conf: Path = paths.CONF) -> DictConfig:
    """Compose the configuration of a stage without running it.

    Raises:
        InputError: Hydra cannot compose it.
    """
    try:
        GlobalHydra.instance().clear()  # a stage composes its own configuration in the same process
        with hydra.initialize_config_dir(str(conf), version_base="1.3"):
            return hydra.compose(stage, overrides)
    except COMPOSITION_ERRORS as error:
        raise explain(error, stage, conf) from None


def load_yaml(path: Path) -> object:
    """Read a YAML file of the project, which holds a mapping.

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
        values = OmegaConf.to_container(OmegaConf.load(StringIO(text))) if is_mapping else {}  # refuses a key twice
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise InputError(f"{name}, line {line}: {error.problem}. Correct the line.") from None
    except (yaml.YAMLError, OmegaConfBaseException, OSError) as error:
        raise InputError(f"{name} is not YAML: {' '.join(str(error).split())}. {paths.remedy(path)}") from None
    if not values:
        raise InputError(f"{name} has no keys with values. {paths.remedy(path)}")
    return values


def check_files(conf: Path) -> None:
    """Raise `InputError`, as `load_yaml` does, for a file of conf/ that cannot be read."""
    for file in sorted(conf.rglob("*.yaml")):
        load_yaml(file)


def load_table(params: Path = paths.PARAMS) -> dict[str, Row]:
    """Read the pipeline runs from params.yaml; raises `InputError` as `load_yaml` and `validate` do."""
    return validate(Table, load_yaml(params), origin=f"{params.name}: ").runs


def load_tracking() -> Tracking:
    """Read conf/tracking/default.yaml; raises `InputError` as `load_yaml` and `validate` do."""
    return validate(Tracking, load_yaml(paths.CONF / "tracking/default.yaml"), origin="conf/tracking/default.yaml: ")


def load_data() -> Data:
    """Read conf/data/mnist.yaml; raises `InputError` as `load_yaml` and `validate` do."""
    return validate(Data, load_yaml(paths.CONF / "data/mnist.yaml"), origin="conf/data/mnist.yaml: ")


# Files of conf/ use it as ${share_of_training_images:1/6}.
OmegaConf.register_new_resolver(
    "share_of_training_images", lambda share: round(Fraction(share) * load_data().train_examples)
)


def check_prepared_data() -> None:
    """Check that the prepared data set has the numbers of images that conf/data/mnist.yaml asks for.

    Raises:
        FileNotFoundError: The prepared data set is missing.
        InputError: It has other numbers of images, or a file is damaged.
    """
    data = load_data()
    labels = read_arrays(paths.PREPARED_DATA, ["train_labels", "test_labels"])
    for part, wanted in {"train": data.train_examples, "test": data.test_examples}.items():
        if (found := len(labels[f"{part}_labels"])) != wanted:
            file = paths.PREPARED_DATA.relative_to(paths.ROOT)
            setting = f"conf/data/mnist.yaml has {part}_examples={wanted}"
            raise InputError(
                f"{file} was prepared with {part}_examples={found}, but {setting}. Make it again: dvc repro prepare"
            )


def check_is_row(run: str, table: dict[str, Row]) -> None:
    """Raise `InputError`, which lists the rows of params.yaml, for a run that is not one of them."""
    if run not in table:
        raise InputError(f"run={run} is not a row of params.yaml. Choose one of: {', '.join(table)}.")


def find_run_files(run: str, table: dict[str, Row]) -> RunFiles:
    """Return the files of a row of params.yaml, or else of an ad hoc run that is trained to the end.

    Raises:
        InputError: There is no such run.
    """
    if run in table:
        return paths.pipeline_run(run)
    adhoc = paths.finished_adhoc_runs()
    if run not in adhoc:
        choices = ", ".join(dict.fromkeys([*table, *adhoc]))
        raise InputError(
            f"run={run} is not a row of params.yaml or a trained run in outputs/. Choose one of: {choices}."
        )
    return paths.adhoc_run(run)


def compose_run(run: str, row: Row, conf: Path = paths.CONF) -> Train:
    """Compose the training of a row of params.yaml.

    Raises:
        InputError: A value of the row, or of a file that it names, cannot be used, or DVC would miss its changes.
    """
    bases = {f"optimizer/{row.optimizer}.yaml": {"_self_"}, f"training/{row.training}.yaml": {"_self_", "default"}}
    try:
        train = resolve(Train, compose("train", row.overrides(run), conf), conf)
        for file, known in bases.items():
            values: Any = load_yaml(conf / file)
            inherited = [str(base) for base in values.get("defaults", [])]
            if missed := ", ".join(base for base in inherited if base not in known):
                raise InputError(f"conf/{file} inherits from {missed}, whose changes DVC would miss. Copy its values.")
    except InputError as error:
        raise InputError(f"params.yaml: runs.{run}: {error}") from None
    return train


def check_configuration(conf: Path = paths.CONF) -> dict[str, Train]:
    """Check params.yaml and every file of conf/ that the stages and the rows use.

    Returns:
        The configuration of each row of params.yaml.

    Raises:
        InputError: A value cannot be used, or two stages have different data or models.
    """
    table, checked = load_table(), {}
    check_files(conf)
    for stage, schema in STAGES.items():
        overrides = [f"run={next(iter(table))}"] if "run" in schema.model_fields else []
        try:
            checked[stage] = resolve(schema, compose(stage, overrides, conf), conf).model_dump()
        except InputError as error:
            raise InputError(f"conf/{stage}.yaml: {error}") from None
    for key, first, second in (("data", "fetch", "prepare"), ("model", "train", "diagram")):
        if checked[first][key] != checked[second][key]:
            raise InputError(f"conf/{second}.yaml: {key} should be that of conf/{first}.yaml")
    return {run: compose_run(run, row, conf) for run, row in table.items()}


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


def explain(error: Exception, stage: str, conf: Path) -> InputError:
    """Turn an error of Hydra's into one line that lists the choices, or names the damaged file of conf/."""
    try:
        check_files(conf)
    except InputError as cause:
        return cause
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        raise error
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        if group and error.options:
            choices = ", ".join(sorted(error.options))
            return InputError(f"Unknown {group} '{choice}'. Choose one of: {choices} (conf/{group}/).")
        return InputError(f"conf/{error.missing_cfg_file}.yaml is missing. Restore it: git checkout conf/")
    if isinstance(error, OverrideParseException):
        return InputError(f"Cannot read '{error.override}': give key=value, with quotes around special characters.")
    if missing_group := re.match(r"Could not override '([^']+)'\.\s+No match in the defaults list", str(error)):
        return InputError(f"conf/{stage}.yaml has no group '{missing_group[1]}'.")
    if (key := getattr(error.__cause__, "full_key", None)) and "not in struct" in str(error.__cause__):
        known = _keys(compose(stage, [], conf))
        close = [name for name in known if name.split(".")[-1] == key] or get_close_matches(key, known, n=1)
        hint = f"Did you mean '{close[0]}'?" if close else f"Known keys: {', '.join(known)}."
        if key in known:
            hint = "Not every choice of the groups on the command line has it."
        return InputError(f"Unknown key '{key}'. {hint}")
    return InputError(" ".join(str(error).split()))


def _keys(composed: DictConfig, prefix: str = "") -> list[str]:
    names = []
    for key, value in composed.items_ex(resolve=False):
        name = prefix + str(key)
        names += _keys(value, f"{name}.") if isinstance(value, DictConfig) else [name]
    return names
