import re
import shutil
from pathlib import Path

import hydra
import numpy as np
import pytest
import yaml
from helpers import replace

from image_classifier import paths
from image_classifier.config.compose import (
    check_configuration,
    check_prepared_data,
    compose,
    compose_run,
    find_run_files,
    is_pipeline_run,
    load_table,
    resolve,
)
from image_classifier.config.schema import STAGES, Evaluate, Row, StrictModel, Train
from image_classifier.errors import InputError

OPTIMIZERS = sorted(file.stem for file in (paths.CONF / "optimizer").glob("*.yaml"))

ROW = {"optimizer": "sgd", "batch_size": 32, "epochs": 1, "training": "default"}
UNKNOWN_IN_ROW = (
    "unknown key. A row has optimizer, batch_size, epochs and training; "
    "write other values into a file of conf/optimizer/ or conf/training/ that the row names"
)


def configure(*overrides: str) -> Train:
    return resolve(Train, compose("train", list(overrides)))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_in_conf_composes(optimizer: str) -> None:
    assert configure(f"optimizer={optimizer}").optimizer["learning_rate"]


def test_the_notebook_s_batch_size_and_epochs_are_the_defaults() -> None:
    config = configure()
    assert (config.optimizer["_target_"], config.batch_size, config.epochs) == ("keras.optimizers.SGD", 32, 10)


def test_every_row_of_params_yaml_composes_to_its_values() -> None:
    for run, row in load_table().items():
        config = compose_run(run, row)
        assert (config.run, config.batch_size, config.epochs) == (run, row.batch_size, row.epochs)


def test_adadelta_has_the_learning_rate_of_its_paper_and_not_keras_3_s_default() -> None:
    assert configure("optimizer=adadelta").optimizer["learning_rate"] == 1.0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer=sdg", f"Unknown optimizer 'sdg'. Choose one of: {', '.join(OPTIMIZERS)} (conf/optimizer/)."),
        ("data=mnist", "conf/train.yaml has no group 'data'."),
        ("epoch=3", "Unknown key 'epoch'. Did you mean 'epochs'?"),
        ("learning_rate=-1", "Unknown key 'learning_rate'. Did you mean 'optimizer.learning_rate'?"),
        ("+momentum=0.9", "momentum: unknown key"),
        ("epochs=ten", "epochs=ten: should be a valid integer"),
        ("epochs=1.5", "epochs=1.5: should be a valid integer"),
        ("epochs=true", "epochs=True: should be a valid integer"),
        ("batch_size=0", "batch_size=0: should be greater than 0"),
        ("training.seed=-1", "training.seed=-1: should be greater than or equal to 0"),
        ("run=../elsewhere", "run=../elsewhere: String should match pattern '^[A-Za-z0-9_][A-Za-z0-9_-]*$'"),
        ("run=-x", "run=-x: String should match pattern '^[A-Za-z0-9_][A-Za-z0-9_-]*$'"),
        (f"run={'a' * 101}", f"run={'a' * 101}: String should have at most 100 characters"),
        ("epochs=10001", "epochs=10001: should be less than or equal to 10000"),
        ("batch_size=60001", "batch_size=60001: should be less than or equal to 60000"),
        ("training.intra_op_threads=1025", "training.intra_op_threads=1025: should be less than or equal to 1024"),
        ("sweep.cpus_per_trial=1025", "sweep.cpus_per_trial=1025: should be less than or equal to 1024"),
        ("~epochs", "epochs: missing"),
        ("epochs=[", "Cannot read 'epochs=[': give key=value, with quotes around special characters."),
        ("training=slow", "Unknown training 'slow'. Choose one of: default, fast (conf/training/)."),
        ("training.precision=float16", "training.precision=float16: should be 'float32' or 'mixed_bfloat16'"),
        ("training.max_shift_px=28", "training.max_shift_px=28: should be less than 28"),
    ],
)
def test_a_bad_override_is_named_with_its_remedy(override: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        configure(override)
    assert str(raised.value) == message


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
        "optimizer.learning_rate={_target_: subprocess.run}",
        "optimizer.learning_rate={decay_steps: 1}",
        "+optimizer._partial_=true",
        "model.layers=[{_target_: builtins.eval}]",
        "model.layers=[{_target_: keras.layers.Dense, kernel_initializer: {_target_: os.system}}]",
        "model.layers=[{_target_: keras.layers.Dense, kernel_initializer: {class_name: HeNormal}}]",
    ],
)
def test_only_classes_of_keras_are_instantiated(override: str) -> None:
    with pytest.raises(InputError, match=r"_target_=.*: should be a class of Keras|_partial_: unknown key"):
        configure(override)


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


def test_a_missing_configuration_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^conf/train\.yaml is missing\. Restore it: git checkout conf/$"):
        compose("train", [], tmp_path)


def test_a_configuration_file_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text("epochs: [1")
    with pytest.raises(InputError, match=r"train\.yaml"):
        compose("train", [], tmp_path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"optimizer": "sgd", "batch_size": 32, "training": "default"}, "params.yaml: runs.mine.epochs: missing"),
        (
            {"optimizer": "sgd", "batchsize": 32, "epochs": 1, "training": "default"},
            f"params.yaml: runs.mine.batchsize: {UNKNOWN_IN_ROW}",
        ),
        (
            {**ROW, "optimizer.learning_rate": 0.1, "validation": "held_out"},
            f"params.yaml: runs.mine.optimizer.learning_rate, validation: {UNKNOWN_IN_ROW}",
        ),
        ({**ROW, "learning_rate": 0.1}, f"params.yaml: runs.mine.learning_rate: {UNKNOWN_IN_ROW}"),
        (
            {"optimizer": "sgd", "batch_size": "32", "epochs": 1, "training": "default"},
            "params.yaml: runs.mine.batch_size=32: should be a valid integer",
        ),
    ],
)
def test_a_typo_in_params_yaml_is_named(tmp_path: Path, row: object, message: str) -> None:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"runs": {"mine": row}}))
    with pytest.raises(InputError) as raised:
        load_table(tmp_path / "params.yaml")
    assert str(raised.value) == message


@pytest.mark.parametrize("text", ["runs: {a: [", "", "runs: {}", "other: 1"])
def test_a_params_yaml_without_runs_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(InputError, match=r"^params\.yaml"):
        load_table(tmp_path / "params.yaml")


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
def test_a_damaged_file_is_named_with_the_reason(tmp_path: Path, content: bytes, message: str) -> None:
    shutil.copytree(paths.CONF, tmp_path / "conf")
    for file in ("params.yaml", "conf/optimizer/sgd.yaml"):
        (tmp_path / file).write_bytes(content)
    with pytest.raises(InputError, match=rf"params\.yaml\b.*{re.escape(message)}"):
        load_table(tmp_path / "params.yaml")
    with pytest.raises(InputError, match=rf"sgd\.yaml\b.*{re.escape(message)}"):
        compose_run("a", load_table()["sgd_32"], tmp_path / "conf")


def test_a_missing_params_yaml_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^params\.yaml is missing\."):
        load_table(tmp_path / "params.yaml")


def test_an_unknown_optimizer_in_a_row_is_named_with_the_choices() -> None:
    with pytest.raises(InputError, match=r"^params\.yaml: runs\.mine: Unknown optimizer 'sdg'\. Choose one of: "):
        compose_run("mine", Row(optimizer="sdg", batch_size=1, epochs=1, training="default"))


@pytest.fixture
def trial_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose conf/data/mnist.yaml asks for 6,000 training and 10 test images."""
    shutil.copytree(paths.CONF, tmp_path / "conf")
    replace(tmp_path / "conf/data/mnist.yaml", "train_examples: 60000", "train_examples: 6000")
    replace(tmp_path / "conf/data/mnist.yaml", "test_examples: 10000", "test_examples: 10")
    for name, path in (("ROOT", "."), ("CONF", "conf"), ("PREPARED_DATA", "data/prepared/mnist.npz")):
        monkeypatch.setattr(paths, name, tmp_path / path)
    paths.PREPARED_DATA.parent.mkdir(parents=True)
    return tmp_path


def test_a_sixth_of_all_training_images_is_held_out() -> None:
    assert configure("validation=held_out").validation.size == 10_000
    assert configure("validation=held_out", "validation.size=5000").validation.size == 5_000


@pytest.mark.usefixtures("trial_project")
def test_a_sixth_of_the_training_images_of_a_quick_trial_is_held_out() -> None:
    assert configure("validation=held_out").validation.size == 1_000


def test_a_bad_number_of_images_is_named_where_a_share_of_it_is_needed(trial_project: Path) -> None:
    replace(trial_project / "conf/data/mnist.yaml", "train_examples: 6000", "train_examples: six")
    with pytest.raises(InputError) as raised:
        configure("validation=held_out")
    message = "conf/data/mnist.yaml: train_examples=six: should be a valid integer"
    assert str(raised.value) == f"validation.size: {message}"


@pytest.mark.usefixtures("trial_project")
@pytest.mark.parametrize(
    ("train", "test", "found"),
    [
        (60_000, 10, "train_examples=60000, but conf/data/mnist.yaml has train_examples=6000"),
        (6_000, 200, "test_examples=200, but conf/data/mnist.yaml has test_examples=10"),
    ],
)
def test_prepared_data_with_other_numbers_of_images_are_refused(train: int, test: int, found: str) -> None:
    np.savez(paths.PREPARED_DATA, train_labels=np.zeros(train, np.uint8), test_labels=np.zeros(test, np.uint8))
    with pytest.raises(InputError) as raised:
        check_prepared_data()
    remedy = "Make it again: dvc repro prepare"
    assert str(raised.value) == f"data/prepared/mnist.npz was prepared with {found}. {remedy}"


@pytest.mark.usefixtures("trial_project")
def test_prepared_data_with_the_numbers_of_images_in_conf_are_accepted() -> None:
    np.savez(paths.PREPARED_DATA, train_labels=np.zeros(6_000, np.uint8), test_labels=np.zeros(10, np.uint8))
    check_prepared_data()


def test_a_run_is_found_as_a_row_or_else_as_a_finished_ad_hoc_run(trial_project: Path) -> None:
    for run in ("sgd_32", "mine", "interrupted"):
        (trial_project / "outputs" / run).mkdir(parents=True)
        (trial_project / "outputs" / run / "model.h5").touch()
    (trial_project / "checkpoints").mkdir()
    paths.checkpoint("interrupted").touch()
    table = {"sgd_32": Row(optimizer="sgd", batch_size=32, epochs=1, training="default")}
    assert find_run_files("sgd_32", table).directory == trial_project / "runs/sgd_32"
    assert find_run_files("mine", table).directory == trial_project / "outputs/mine"
    message = r"^run=interrupted is not a row of params\.yaml or a trained run in outputs/\. .*: sgd_32, mine\.$"
    with pytest.raises(InputError, match=message):
        find_run_files("interrupted", table)


def test_a_training_with_the_name_of_a_row_must_have_its_values() -> None:
    table = load_table()
    row = compose_run("sgd_32", table["sgd_32"])
    assert is_pipeline_run(row, table)
    with pytest.raises(InputError, match=r"^run=sgd_32 is a row of params\.yaml with other values\."):
        is_pipeline_run(row.model_copy(update={"epochs": 1}), table)


@pytest.mark.parametrize("stage", ["fetch", "prepare", "diagram", "train", "evaluate", "compare", "track"])
def test_a_stage_of_dvc_yaml_depends_on_the_values_of_its_configuration(stage: str) -> None:
    defined = yaml.safe_load(paths.DVC_YAML.read_text())["stages"][stage]
    params = [entry for entry in defined.get("do", defined)["params"] if isinstance(entry, dict)]
    files = {file: keys for entry in params for file, keys in entry.items()}
    with hydra.initialize_config_dir(str(paths.CONF), version_base="1.3"):
        choices = hydra.compose(stage, return_hydra_config=True).hydra.runtime.choices
    composed = {f"conf/{group}/{choice}.yaml" for group, choice in choices.items() if not group.startswith("hydra/")}
    if stage == "train":
        composed = composed - {"conf/optimizer/sgd.yaml"} | {"conf/optimizer/${item.optimizer}.yaml"}
        composed.add("conf/training/${item.training}.yaml")  # every file of the group inherits from the default
        composed -= {"conf/tracking/default.yaml", "conf/sweep/grid.yaml"}  # without influence on the weights
    own = yaml.safe_load((paths.CONF / f"{stage}.yaml").read_text()).keys() - {"defaults", "hydra"}
    given = {"run", "batch_size", "epochs"} if stage == "train" else {"run"}  # on the command line
    if stage == "compare":
        given.add("batch_size")  # of `image-classifier compare`
    assert files.keys() - {f"conf/{stage}.yaml"} == composed
    assert set(files.get(f"conf/{stage}.yaml", [])) - {"defaults"} == own - given


def test_the_command_of_a_training_in_dvc_yaml_has_the_overrides_of_the_row() -> None:
    command = yaml.safe_load((paths.ROOT / "dvc.yaml").read_text())["stages"]["train"]["do"]["cmd"]
    row = Row(optimizer="adam", batch_size=64, epochs=3, training="default")
    for key, value in {"key": "mine", **{f"item.{key}": value for key, value in row.model_dump().items()}}.items():
        command = command.replace(f"${{{key}}}", str(value))
    assert command.split()[3:] == row.overrides("mine")


def test_a_value_of_another_stage_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    shutil.copytree(paths.CONF, tmp_path / "conf")
    compare = tmp_path / "conf/compare.yaml"
    compare.write_text(compare.read_text().replace("confidence: 0.95", "confidence: 95"))
    with pytest.raises(InputError, match=r"^conf/compare\.yaml: confidence=95.*: should be less than 1$"):
        check_configuration(conf=tmp_path / "conf")


def test_a_model_that_is_drawn_and_not_trained_is_refused(tmp_path: Path) -> None:
    shutil.copytree(paths.CONF, tmp_path / "conf")
    model = (tmp_path / "conf/model/cnn.yaml").read_text()
    (tmp_path / "conf/model/wide.yaml").write_text(model.replace("filters: 32", "filters: 48"))
    train = tmp_path / "conf/train.yaml"
    train.write_text(train.read_text().replace("model: cnn", "model: wide"))
    with pytest.raises(InputError, match=r"^conf/diagram\.yaml: model should be that of conf/train\.yaml$"):
        check_configuration(conf=tmp_path / "conf")


@pytest.mark.parametrize(("group", "base"), [("training", "fast"), ("optimizer", "adam")])
def test_a_file_of_a_row_that_inherits_from_one_that_dvc_does_not_watch_is_refused(
    tmp_path: Path, group: str, base: str
) -> None:
    shutil.copytree(paths.CONF, tmp_path / "conf")
    (tmp_path / "conf" / group / "mine.yaml").write_text(f"defaults: [{base}, _self_]\n")
    row = Row(optimizer="sgd", batch_size=32, epochs=1, training="default").model_copy(update={group: "mine"})
    with pytest.raises(
        InputError, match=rf"^params\.yaml: runs\.a: conf/{group}/mine\.yaml inherits from {base}, whose"
    ):
        compose_run("a", row, tmp_path / "conf")


def test_a_training_with_another_name_is_not_is_pipeline_run(train_config: Train) -> None:
    assert not is_pipeline_run(train_config, load_table())


def test_checkpoints_within_an_epoch_are_refused_where_they_would_change_the_weights() -> None:
    overrides = ["training.checkpoint_steps=30", "+optimizer.use_ema=true"]
    with pytest.raises(InputError, match=r"^training\.checkpoint_steps: should be null for an optimizer with use_ema$"):
        resolve(Train, compose("train", overrides))


@pytest.mark.parametrize("schema", [*STAGES.values(), Row], ids=lambda schema: schema.__name__)
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
