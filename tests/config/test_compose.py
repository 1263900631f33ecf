import re
from pathlib import Path

import hydra
import pytest
import yaml
from helpers import replace

from image_classifier import paths
from image_classifier.config.compose import (
    check_configuration,
    compose,
    compose_run,
    is_pipeline_run,
    load_data,
    load_params,
    resolve,
)
from image_classifier.config.schema import STAGES, Evaluate, Params, Row, StrictModel, Train
from image_classifier.dataset import count_held_out
from image_classifier.errors import InputError

OPTIMIZERS = sorted(file.stem for file in (paths.CONF / "optimizer").glob("*.yaml"))

DATA_SETS = sorted(file.stem for file in (paths.CONF / "data").glob("*.yaml"))

ROW = {"data": "mnist", "model": "cnn", "optimizer": "sgd", "batch_size": 32, "epochs": 1, "training": "default"}
DATASETS = {"mnist": {"path": "conf/data/mnist.yaml"}}
UNKNOWN_IN_ROW = (
    "unknown key. A row has data, model, optimizer, batch_size, epochs and training; "
    "write other values into a file of conf/ that the row names"
)


def configure(*overrides: str) -> Train:
    return resolve(Train, compose("train", list(overrides)))


def without(key: str) -> dict[str, object]:
    """Return a row of params.yaml that lacks a key."""
    return {name: value for name, value in ROW.items() if name != key}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_in_conf_composes(optimizer: str) -> None:
    assert configure(f"optimizer={optimizer}").optimizer["learning_rate"]


def test_the_notebook_s_batch_size_and_epochs_are_the_defaults() -> None:
    config = configure()
    assert (config.optimizer["_target_"], config.batch_size, config.epochs) == ("keras.optimizers.SGD", 32, 10)


def test_every_row_of_params_yaml_composes_to_its_values() -> None:
    for run, row in load_params().runs.items():
        config = compose_run(run, row)
        assert (config.run, config.batch_size, config.epochs) == (run, row.batch_size, row.epochs)
        assert (config.data.name, config.model.name) == (row.data, row.model)


def test_adadelta_has_the_learning_rate_of_its_paper_and_not_keras_3_s_default() -> None:
    assert configure("optimizer=adadelta").optimizer["learning_rate"] == 1.0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer=sdg", f"Unknown optimizer 'sdg'. Choose one of: {', '.join(OPTIMIZERS)} (conf/optimizer/)."),
        ("data=emnist", f"Unknown data 'emnist'. Choose one of: {', '.join(DATA_SETS)} (conf/data/)."),
        ("epoch=3", "Unknown key 'epoch'. Did you mean 'epochs'?"),
        ("modl=cnn", "Unknown key 'modl'. Did you mean 'model'?"),
        ("optimizer.learning=1", "Unknown key 'optimizer.learning'. Did you mean 'optimizer.learning_rate'?"),
        ("learning_rate=-1", "Unknown key 'learning_rate'. Did you mean 'optimizer.learning_rate'?"),
        ("+momentum=0.9", "momentum: unknown key"),
        ("epochs=ten", "epochs=ten: should be a valid integer"),
        ("epochs=1.5", "epochs=1.5: should be a valid integer"),
        ("epochs=true", "epochs=True: should be a valid integer"),
        ("batch_size=0", "batch_size=0: should be greater than 0"),
        ("training.seed=-1", "training.seed=-1: should be greater than or equal to 0"),
        ("run=../elsewhere", "run=../elsewhere: should have only letters, digits, _ and -, and not begin with -"),
        ("run=-x", "run=-x: should have only letters, digits, _ and -, and not begin with -"),
        (f"run={'a' * 101}", f"run={'a' * 101}: String should have at most 100 characters"),
        ("epochs=10001", "epochs=10001: should be less than or equal to 10000"),
        ("batch_size=60001", "batch_size=60001: should be less than or equal to 60000"),
        ("training.intra_op_threads=1025", "training.intra_op_threads=1025: should be less than or equal to 1024"),
        ("sweep.cpus_per_trial=1025", "sweep.cpus_per_trial=1025: should be less than or equal to 1024"),
        ("~epochs", "epochs: missing"),
        ("epochs=1,2", "'epochs=1,2' has several values, which need -m: python -m pipelines.train -m …"),
        (
            "optimizer=choice(sgd,adam)",
            "'optimizer=choice(sgd,adam)' has several values, which need -m: python -m pipelines.train -m …",
        ),
        ("epochs=[", "Cannot read 'epochs=[': give key=value, with quotes around special characters."),
        ("training=slow", "Unknown training 'slow'. Choose one of: default, fast (conf/training/)."),
        ("training.precision=float16", "training.precision=float16: should be 'float32' or 'mixed_bfloat16'"),
        ("training.max_shift_px=28", "training.max_shift_px=28: should be less than 28"),
        ("data.source.form=zip", "data.source.form=zip: should be one of: mnist, image_folder, csv, idx, npz"),
        ("~data.source.form", "data.source.form: missing"),
        (
            "data.source.form=csv",
            "data.source.skip_unreadable: missing; data.source.packages: unknown key; data.source.sha256: unknown key",
        ),
        ("data.classes=[a,b,a]", "data.classes: a occurs twice. Remove one"),
        ("data.classes=[a]", "data.classes=['a']: List should have at least 2 items after validation, not 1"),
        ("data.classes=3", "data.classes=3: should be a valid list"),
        ("data.classes=[a,1]", "data.classes.1=1: should be a valid string"),
        ("data.color=rgb", "data.fit=digit: needs image_size=[28,28] and color=gray"),
        ("data.image_size=[32,32]", "data.fit=digit: needs image_size=[28,28] and color=gray"),
        ("data.test_fraction=0.0", "data.test_fraction=0.0: should be greater than 0"),
        ("data.test_fraction=1.0", "data.test_fraction=1.0: should be less than 1"),
        ("data.train_examples=0", "data.train_examples=0: should be greater than 0"),
        ("data.name=my pets", "data.name=my pets: should have only letters, digits, _ and -, and not begin with -"),
    ],
)
def test_a_bad_override_is_named_with_its_remedy(override: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        configure(override)
    assert str(raised.value) == message


def test_a_group_of_another_stage_is_named() -> None:
    with pytest.raises(InputError, match=r"^conf/evaluate\.yaml has no group 'optimizer'\.$"):
        compose("evaluate", ["optimizer=sgd"])


@pytest.mark.parametrize("value", ["-1", "0", "nan", "inf", "true", "null", "fast"])
def test_a_learning_rate_that_is_no_positive_number_is_refused(value: str) -> None:
    with pytest.raises(InputError, match=r"^optimizer\.learning_rate=.*: should be a number greater than 0"):
        configure(f"optimizer.learning_rate={value}")


def test_a_word_as_a_number_of_an_optimizer_is_refused() -> None:
    with pytest.raises(InputError, match=r"^optimizer\.beta_1=high: should be a number, true, false or null$"):
        configure("optimizer=adam", "optimizer.beta_1=high")


@pytest.mark.parametrize(
    "override",
    [
        "optimizer._target_=os.system",
        "optimizer._target_=kerasx.optimizers.SGD",
        "optimizer._target_=keras.src.utils.file_utils.os.getcwd",
        "optimizer._target_=keras.optimizers.get",
        "optimizer.learning_rate={_target_: subprocess.run}",
        "optimizer.learning_rate={decay_steps: 1}",
        "+optimizer._partial_=true",
        "model.layers=[{_target_: builtins.eval}]",
        "model.layers=[{_target_: keras.layers.deserialize}]",
        "model.layers=[{_target_: keras.layers.Dense, kernel_initializer: {_target_: os.system}}]",
        "model.layers=[{_target_: keras.layers.Dense, kernel_initializer: {class_name: HeNormal}}]",
    ],
)
def test_only_classes_of_keras_are_instantiated(override: str) -> None:
    with pytest.raises(InputError, match=r"_target_=.*: should be a class of Keras|_partial_: unknown key"):
        configure(override)


@pytest.mark.parametrize(
    "layer", ["TFSMLayer", "Lambda", "JaxLayer", "FlaxLayer", "TorchModuleWrapper", "StringLookup"]
)
def test_a_layer_with_code_or_files_from_elsewhere_is_refused(layer: str) -> None:
    message = rf"^model\.layers\.0\._target_=keras\.layers\.{layer}: can use code or files from elsewhere\. "
    with pytest.raises(InputError, match=message):
        configure(f"model.layers=[{{_target_: keras.layers.{layer}, filepath: saved}}]")
    wrapped = f"model.layers=[{{_target_: keras.layers.TimeDistributed, layer: {{_target_: keras.layers.{layer}}}}}]"
    with pytest.raises(InputError, match=rf"^model\.layers\.0\.layer\._target_=keras\.layers\.{layer}: "):
        configure(wrapped)


@pytest.mark.parametrize(
    "override",
    [
        "validation.size=5",
        "validation.name=held_out",
        "validation=held_out validation.size=0",
        "validation.every_epoch=false",
        "validation=final_test validation.every_epoch=true",
    ],
)
def test_the_values_of_the_validation_must_fit_its_name(override: str) -> None:
    with pytest.raises(InputError, match=r"^validation\.name=.*: does not fit size=.*; choose validation="):
        configure(*override.split())


@pytest.mark.parametrize(
    ("key", "value"), [("alpha", "'1%'"), ("initial_learning_rate", "'10%'"), ("boundaries", "['50%']")]
)
def test_only_a_number_of_steps_can_be_a_share(key: str, value: str) -> None:
    with pytest.raises(InputError, match=rf"learning_rate\.{key}=.*: should be a number$"):
        configure("optimizer=nadam", f"++optimizer.learning_rate.{key}={value}")


@pytest.mark.parametrize("value", ["15 %", "-1%", "all", "%"])
def test_a_share_of_the_steps_that_cannot_be_read_is_named(value: str) -> None:
    with pytest.raises(InputError) as raised:
        configure("optimizer=nadam", f"optimizer.learning_rate.warmup_steps='{value}'")
    assert str(raised.value) == (
        f"optimizer.learning_rate.warmup_steps={value}: "
        "should be a number, or a share of the training's steps such as 15%"
    )


def test_a_value_that_is_needed_and_missing_is_named() -> None:
    with pytest.raises(InputError, match=r"^run has no value: give run=… on the command line\.$"):
        resolve(Evaluate, compose("evaluate", []))


def test_a_missing_configuration_file_is_named(project: Path) -> None:
    (project / "conf/train.yaml").unlink()
    with pytest.raises(InputError, match=r"^conf/train\.yaml is missing\. Restore it: git checkout conf/$"):
        compose("train", [])


def test_a_configuration_file_that_is_no_yaml_is_named(project: Path) -> None:
    (project / "conf/train.yaml").write_text("epochs: [1")
    with pytest.raises(InputError, match=r"^conf/train\.yaml, line 1: "):
        compose("train", [])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (without("epochs"), "params.yaml: runs.mine.epochs: missing"),
        (without("data"), "params.yaml: runs.mine.data: missing"),
        (without("model"), "params.yaml: runs.mine.model: missing"),
        ({**without("batch_size"), "batchsize": 32}, f"params.yaml: runs.mine.batchsize: {UNKNOWN_IN_ROW}"),
        (
            {**ROW, "optimizer.learning_rate": 0.1, "validation": "held_out"},
            f"params.yaml: runs.mine.optimizer.learning_rate, validation: {UNKNOWN_IN_ROW}",
        ),
        ({**ROW, "learning_rate": 0.1}, f"params.yaml: runs.mine.learning_rate: {UNKNOWN_IN_ROW}"),
        ({**ROW, "batch_size": "32"}, "params.yaml: runs.mine.batch_size=32: should be a valid integer"),
        ({**ROW, "data": "emnist"}, "params.yaml: runs.mine.data=emnist: should be one of: mnist (datasets)"),
    ],
)
def test_a_typo_in_params_yaml_is_named(project: Path, row: object, message: str) -> None:
    (project / "params.yaml").write_text(yaml.safe_dump({"datasets": DATASETS, "runs": {"mine": row}}))
    with pytest.raises(InputError) as raised:
        load_params()
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        (None, "params.yaml: datasets: missing"),
        ({"mnist": {}}, "params.yaml: datasets.mnist.path: missing"),
        ({"mnist": {"path": "a", "form": "csv"}}, "params.yaml: datasets.mnist.form: unknown key"),
        (
            {**DATASETS, "pets": {"path": "pets"}},
            "params.yaml: datasets: no run uses pets. Add a row to runs, or remove the data set",
        ),
    ],
)
def test_a_data_set_that_cannot_be_used_is_named(project: Path, datasets: object, message: str) -> None:
    content = {"runs": {"mine": ROW}, **({"datasets": datasets} if datasets else {})}
    (project / "params.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(InputError) as raised:
        load_params()
    assert str(raised.value) == message


@pytest.mark.parametrize("text", ["runs: {a: [", "", "datasets: {mnist: {path: a}}\nruns: {}", "other: 1"])
def test_a_params_yaml_without_runs_is_refused(project: Path, text: str) -> None:
    (project / "params.yaml").write_text(text)
    with pytest.raises(InputError, match=r"^params\.yaml"):
        load_params()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no keys with values. "),
        (b"# nothing\n", "has no keys with values. "),
        (b"5", "has no keys with values. "),
        (b"- 1\n- 2\n", "has no keys with values. "),
        (b"word", "has no keys with values. "),
        (b"\x00\x01", "is not YAML: "),
        (b"runs: {a: \xe9}", "is not UTF-8"),
        ("runs: {a: é}".encode("utf-16"), "is not UTF-8"),
        (b"runs:\n  a: 1\n  a: 2\n", "line 3: found duplicate key a"),
        (b"runs: [1\n", "line 2: expected ',' or ']'"),
    ],
    ids=["empty", "comment", "number", "list", "word", "binary", "Latin-1", "UTF-16", "doubled key", "syntax"],
)
def test_a_damaged_file_is_named_with_the_reason(project: Path, content: bytes, message: str) -> None:
    row = load_params().runs["sgd_32"]
    for file in ("params.yaml", "conf/optimizer/sgd.yaml"):
        (project / file).write_bytes(content)
    with pytest.raises(InputError, match=rf"params\.yaml\b.*{re.escape(message)}"):
        load_params()
    with pytest.raises(InputError, match=rf"sgd\.yaml\b.*{re.escape(message)}"):
        compose_run("a", row)


def test_a_missing_params_yaml_is_named(project: Path) -> None:
    (project / "params.yaml").unlink()
    with pytest.raises(InputError, match=r"^params\.yaml is missing\."):
        load_params()


def test_an_unknown_optimizer_in_a_row_is_named_with_the_choices() -> None:
    with pytest.raises(InputError, match=r"^params\.yaml: runs\.mine: Unknown optimizer 'sdg'\. Choose one of: "):
        compose_run("mine", Row.model_validate({**ROW, "optimizer": "sdg"}))


@pytest.mark.parametrize("size", ["ten", "1.5", "-1", "-0.5", "0.0", "true"])
def test_a_size_of_the_validation_that_is_neither_a_number_nor_a_share_of_images_is_named_once(size: str) -> None:
    with pytest.raises(InputError) as raised:
        configure("validation=held_out", f"validation.size={size}")
    shown = size.capitalize() if size == "true" else size
    assert str(raised.value) == f"validation.size={shown}: should be a number of images, or a share below 1"


@pytest.mark.parametrize("data", DATA_SETS)
def test_every_data_set_in_conf_has_the_values_that_dvc_yaml_watches(data: str) -> None:
    fetch = yaml.safe_load(paths.DVC_YAML.read_text())["stages"]["fetch"]["do"]["params"]
    (watched,) = (entry["conf/data/${key}.yaml"] for entry in fetch if "conf/data/${key}.yaml" in entry)
    assert set(watched) <= yaml.safe_load((paths.CONF / f"data/{data}.yaml").read_text()).keys()
    assert load_data(data).name == data


@pytest.fixture
def pets(project: Path) -> Path:
    """The file in conf/data/ of a project with the data set pets: coloured pictures of three classes."""
    values = {
        "name": "pets",
        "source": {"form": "image_folder", "skip_unreadable": False},
        "classes": ["cat", "dog", "hamster"],
        "image_size": [32, 48],
        "color": "rgb",
        "fit": "pad",
        "test_fraction": 0.2,
        "train_examples": None,
        "test_examples": None,
    }
    file = project / "conf/data/pets.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


@pytest.mark.usefixtures("pets")
def test_the_last_layer_has_a_unit_for_each_class_of_the_data_set() -> None:
    assert [configure(f"data={data}").model.layers[-1]["units"] for data in ("mnist", "pets")] == [10, 3]


@pytest.mark.usefixtures("pets")
def test_a_data_set_has_the_shape_of_its_images() -> None:
    assert load_data("pets").image_shape == (32, 48, 3)
    assert load_data("mnist").image_shape == (28, 28, 1)


@pytest.mark.usefixtures("pets")
def test_the_data_set_of_a_row_decides_the_training() -> None:
    assert compose_run("mine", Row.model_validate({**ROW, "data": "pets"})).data.name == "pets"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: pets", "name: cats", "conf/data/pets.yaml: name=cats: should be pets, as the file"),
        ("color: rgb", "color: red", "conf/data/pets.yaml: data.color=red: should be 'gray' or 'rgb'"),
        ("fit: pad\n", "", "conf/data/pets.yaml: data.fit: missing"),
    ],
)
def test_a_bad_value_of_a_file_in_conf_data_is_named_with_the_file(
    pets: Path, old: str, new: str, message: str
) -> None:
    replace(pets, old, new)
    with pytest.raises(InputError) as raised:
        load_data("pets")
    assert str(raised.value) == message


def test_every_data_set_of_params_yaml_is_checked(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace(pets, "name: pets", "name: cats")
    table = load_params()
    with_pets = Params(
        datasets={**table.datasets, "pets": table.datasets["mnist"]},
        runs={**table.runs, "pets": Row.model_validate({**ROW, "data": "pets"})},
    )
    monkeypatch.setattr("image_classifier.config.compose.load_params", lambda: with_pets)
    with pytest.raises(InputError, match=r"^conf/data/pets\.yaml: name=cats: should be pets, as the file$"):
        check_configuration()


def test_a_sixth_of_the_training_images_is_held_out() -> None:
    assert count_held_out(60_000, configure("validation=held_out").validation.size) == 10_000
    assert count_held_out(6_000, configure("validation=held_out").validation.size) == 1_000
    assert count_held_out(60_000, configure("validation=held_out", "validation.size=5000").validation.size) == 5_000


def test_a_training_with_the_name_of_a_row_must_have_its_values() -> None:
    table = load_params().runs
    row = compose_run("sgd_32", table["sgd_32"])
    assert is_pipeline_run(row, table)
    with pytest.raises(InputError, match=r"^run=sgd_32 is a row of params\.yaml with other values\."):
        is_pipeline_run(row.model_copy(update={"epochs": 1}), table)


@pytest.mark.parametrize("stage", ["fetch", "prepare", "audit", "diagram", "train", "evaluate", "compare", "track"])
def test_a_stage_of_dvc_yaml_depends_on_the_values_of_its_configuration(stage: str) -> None:
    defined = yaml.safe_load(paths.DVC_YAML.read_text())["stages"][stage]
    params = [entry for entry in defined.get("do", defined)["params"] if isinstance(entry, dict)]
    files = {file: keys for entry in params for file, keys in entry.items()}
    with hydra.initialize_config_dir(str(paths.CONF), version_base="1.3"):
        choices = hydra.compose(stage, return_hydra_config=True).hydra.runtime.choices
    composed = {f"conf/{group}/{choice}.yaml" for group, choice in choices.items() if not group.startswith("hydra/")}
    if stage in ("fetch", "prepare"):
        composed = composed - {"conf/data/mnist.yaml"} | {"conf/data/${key}.yaml"}
    if stage == "train":
        for group, choice in (("model", "cnn"), ("optimizer", "sgd")):
            composed = composed - {f"conf/{group}/{choice}.yaml"} | {f"conf/{group}/${{item.{group}}}.yaml"}
        composed.add("conf/training/${item.training}.yaml")  # every file of the group inherits from the default
        composed.remove("conf/sweep/grid.yaml")  # without influence on the weights
    if stage in ("audit", "train", "compare"):
        composed.remove("conf/data/mnist.yaml")  # they read the prepared data, which depend on it
    if stage == "diagram":  # draws the models of all rows
        assert {"conf/data", "conf/model"} <= set(defined["deps"])
    own = yaml.safe_load((paths.CONF / f"{stage}.yaml").read_text()).keys() - {"defaults", "hydra"}
    given = {"run", "batch_size", "epochs"} if stage == "train" else {"run"}  # on the command line
    if stage == "compare":
        given |= {"batch_size", "calibration_margin"}  # of `image-classifier compare` and `promote`
    assert files.keys() - {f"conf/{stage}.yaml"} == composed
    assert set(files.get(f"conf/{stage}.yaml", [])) - {"defaults"} == own - given


def test_the_command_of_a_training_in_dvc_yaml_has_the_overrides_of_the_row() -> None:
    command = yaml.safe_load((paths.ROOT / "dvc.yaml").read_text())["stages"]["train"]["do"]["cmd"]
    row = Row(data="mnist", model="cnn", optimizer="adam", batch_size=64, epochs=3, training="default")
    for key, value in {"key": "mine", **{f"item.{key}": value for key, value in row.model_dump().items()}}.items():
        command = command.replace(f"${{{key}}}", str(value))
    assert command.split()[3:] == row.overrides("mine")


def test_a_value_of_another_stage_that_cannot_be_used_is_named(project: Path) -> None:
    replace(project / "conf/compare.yaml", "confidence: 0.95", "confidence: 95")
    with pytest.raises(InputError, match=r"^conf/compare\.yaml: confidence=95.*: should be less than 1$"):
        check_configuration()


@pytest.mark.parametrize(("group", "base"), [("training", "fast"), ("optimizer", "adam"), ("model", "cnn")])
def test_a_file_of_a_row_that_inherits_from_one_that_dvc_does_not_watch_is_refused(
    project: Path, group: str, base: str
) -> None:
    (project / "conf" / group / "mine.yaml").write_text(f"defaults: [{base}, _self_]\n")
    row = Row.model_validate({**ROW, group: "mine"})
    with pytest.raises(
        InputError, match=rf"^params\.yaml: runs\.a: conf/{group}/mine\.yaml inherits from {base}, whose"
    ):
        compose_run("a", row)


def test_a_training_with_another_name_is_not_is_pipeline_run(train_config: Train) -> None:
    assert not is_pipeline_run(train_config, load_params().runs)


def test_checkpoints_within_an_epoch_are_refused_where_they_would_change_the_weights() -> None:
    overrides = ["training.checkpoint_steps=30", "+optimizer.use_ema=true"]
    with pytest.raises(InputError, match=r"^training\.checkpoint_steps: should be null for an optimizer with use_ema$"):
        resolve(Train, compose("train", overrides))


@pytest.mark.parametrize("schema", [*STAGES.values(), Params], ids=lambda schema: schema.__name__)
def test_every_number_of_the_schema_has_both_bounds(schema: type[StrictModel]) -> None:
    definitions = schema.model_json_schema()
    fields = [definitions, *definitions.get("$defs", {}).values()]
    variants = [
        (name, variant)
        for owner in fields
        for name, field in owner["properties"].items()
        for variant in (field, *field.get("anyOf", []))
        if variant.get("type") in ("integer", "number")
    ]
    unbounded = [
        name
        for name, variant in variants
        if not (variant.keys() & {"minimum", "exclusiveMinimum"} and variant.keys() & {"maximum", "exclusiveMaximum"})
    ]
    assert not unbounded
