import shutil
from pathlib import Path

import hydra
import pytest
import yaml

from mnist_cnn import paths
from mnist_cnn.configuration import check_commands, compose, compose_run, documented, load_table, resolve
from mnist_cnn.errors import InputError
from mnist_cnn.schema import Evaluate, Row, Train

OPTIMIZERS = sorted(file.stem for file in (paths.CONF / "optimizer").glob("*.yaml"))


def configure(*overrides: str) -> Train:
    return resolve(Train, compose("train", list(overrides), paths.CONF))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_in_conf_composes(optimizer: str) -> None:
    assert configure(f"optimizer={optimizer}").optimizer.config["learning_rate"]


def test_the_notebook_s_batch_size_and_epochs_are_the_defaults() -> None:
    config = configure()
    assert (config.optimizer.class_name, config.batch_size, config.epochs) == ("SGD", 32, 10)


def test_every_row_of_params_yaml_composes_to_what_it_says() -> None:
    for run, row in load_table(paths.PARAMS).items():
        config = compose_run(run, row, paths.CONF)
        assert (config.run, config.batch_size, config.epochs) == (run, row.batch_size, row.epochs)


def test_adadelta_has_the_learning_rate_of_its_paper_and_not_keras_3_s_default() -> None:
    assert configure("optimizer=adadelta").optimizer.config["learning_rate"] == 1.0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer=sdg", f"Unknown optimizer 'sdg'. Choose one of: {', '.join(OPTIMIZERS)} (conf/optimizer/)."),
        ("epoch=3", "Unknown key 'epoch'. Did you mean 'epochs'?"),
        ("learning_rate=-1", "Unknown key 'learning_rate'. Did you mean 'optimizer.config.learning_rate'?"),
        ("+momentum=0.9", "momentum: unknown key"),
        ("epochs=ten", "epochs=ten: should be a valid integer"),
        ("epochs=1.5", "epochs=1.5: should be a valid integer"),
        ("epochs=true", "epochs=True: should be a valid integer"),
        ("batch_size=0", "batch_size=0: should be greater than 0"),
        ("training.seed=-1", "training.seed=-1: should be greater than or equal to 0"),
        ("run=../elsewhere", "run=../elsewhere: String should match pattern '^[A-Za-z0-9_-]+$'"),
        ("~epochs", "epochs: missing"),
        ("epochs=[", "Cannot read 'epochs=[': give key=value, with quotes around special characters."),
        ("training=slow", "Unknown training 'slow'. Choose one of: default, fast (conf/training/)."),
        ("training.precision=float16", "training.precision=float16: should be 'float32' or 'mixed_bfloat16'"),
        ("training.random_shift=28", "training.random_shift=28: should be less than 28"),
    ],
)
def test_a_bad_override_is_named_with_its_remedy(override: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        configure(override)
    assert str(raised.value) == message


@pytest.mark.parametrize("value", ["-1", "0", "nan", "inf", "true", "null", "fast"])
def test_a_learning_rate_that_is_no_positive_number_is_refused(value: str) -> None:
    with pytest.raises(InputError, match=r"^optimizer\.config\.learning_rate=.*: should be a number greater than 0"):
        configure(f"optimizer.config.learning_rate={value}")


def test_a_whole_number_is_a_learning_rate() -> None:
    learning_rate = configure("optimizer.config.learning_rate=1").optimizer.config["learning_rate"]
    assert isinstance(learning_rate, float)


def test_a_word_as_a_number_of_an_optimizer_is_refused() -> None:
    with pytest.raises(InputError, match=r"^optimizer\.config\.beta_1=high: should be a number, true, false or null$"):
        configure("optimizer=adam", "optimizer.config.beta_1=high")


def test_a_learning_rate_schedule_needs_a_class_name() -> None:
    with pytest.raises(InputError, match=r"learning_rate\.class_name: missing"):
        configure("optimizer.config.learning_rate={config: {decay_steps: 1}}")


@pytest.mark.parametrize(
    ("key", "value"), [("alpha", "'1%'"), ("initial_learning_rate", "'10%'"), ("boundaries", "['50%']")]
)
def test_only_a_number_of_steps_can_be_a_share(key: str, value: str) -> None:
    with pytest.raises(InputError, match=rf"learning_rate\.config\.{key}=.*: should be a number$"):
        configure("optimizer=nadam", f"++optimizer.config.learning_rate.config.{key}={value}")


@pytest.mark.parametrize("value", ["15 %", "-1%", "all", "%"])
def test_a_share_of_the_steps_that_cannot_be_read_is_named(value: str) -> None:
    with pytest.raises(InputError) as raised:
        configure("optimizer=nadam", f"optimizer.config.learning_rate.config.warmup_steps='{value}'")
    assert str(raised.value) == (
        f"optimizer.config.learning_rate.config.warmup_steps={value}: "
        "should be a number, or a share of the training's steps such as 15%"
    )


def test_a_value_that_is_needed_and_missing_is_named() -> None:
    with pytest.raises(InputError, match=r"^run has no value: give run=… on the command line\.$"):
        resolve(Evaluate, compose("evaluate", [], paths.CONF))


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
            "params.yaml: runs.mine.batch_size: missing; runs.mine.batchsize: unknown key",
        ),
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


def test_a_missing_params_yaml_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^params\.yaml is missing\."):
        load_table(tmp_path / "params.yaml")


def test_an_unknown_optimizer_in_a_row_is_named_with_the_choices() -> None:
    with pytest.raises(InputError, match=r"^params\.yaml: runs\.mine: Unknown optimizer 'sdg'\. Choose one of: "):
        compose_run("mine", Row(optimizer="sdg", batch_size=1, epochs=1, training="default"), paths.CONF)


def test_a_training_that_bears_the_name_of_a_row_must_be_that_row() -> None:
    table = load_table(paths.PARAMS)
    row = compose_run("sgd_32", table["sgd_32"], paths.CONF)
    assert documented(row, table, paths.CONF)
    with pytest.raises(InputError, match=r"^run=sgd_32 is a row of params\.yaml with other values\."):
        documented(row.model_copy(update={"epochs": 1}), table, paths.CONF)


@pytest.mark.parametrize("stage", ["fetch", "prepare", "diagram", "train", "evaluate", "compare", "track"])
def test_a_stage_of_dvc_yaml_depends_on_the_files_that_its_configuration_is_composed_of(stage: str) -> None:
    defined = yaml.safe_load((paths.ROOT / "dvc.yaml").read_text())["stages"][stage]
    dependencies = set(defined.get("do", defined)["deps"])
    with hydra.initialize_config_dir(str(paths.CONF), version_base="1.3"):
        choices = hydra.compose(stage, return_hydra_config=True).hydra.runtime.choices
    composed = {f"conf/{group}/{choice}.yaml" for group, choice in choices.items() if not group.startswith("hydra/")}
    if stage == "train":
        composed = composed - {"conf/optimizer/sgd.yaml"} | {"conf/optimizer/${item.optimizer}.yaml"}
        composed.add("conf/training/${item.training}.yaml")  # all of them begin with the default
        # They say where a training is recorded and how many are made of it; they decide nothing.
        composed -= {"conf/tracking/default.yaml", "conf/sweep/grid.yaml"}
    assert {file for file in dependencies if file.startswith("conf/")} == {f"conf/{stage}.yaml", *composed}


def test_the_command_of_a_training_in_dvc_yaml_says_the_row_as_the_check_does() -> None:
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
        check_commands("sgd_32", tmp_path / "conf")


def test_a_model_that_is_drawn_and_not_trained_is_refused(tmp_path: Path) -> None:
    shutil.copytree(paths.CONF, tmp_path / "conf")
    model = (tmp_path / "conf/model/cnn.yaml").read_text()
    (tmp_path / "conf/model/wide.yaml").write_text(model.replace("filters: 32", "filters: 48"))
    train = tmp_path / "conf/train.yaml"
    train.write_text(train.read_text().replace("model: cnn", "model: wide"))
    with pytest.raises(InputError, match=r"^conf/diagram\.yaml: model should be that of conf/train\.yaml$"):
        check_commands("sgd_32", tmp_path / "conf")


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


def test_a_training_with_another_name_is_not_documented(train_config: Train) -> None:
    assert not documented(train_config, load_table(paths.PARAMS), paths.CONF)


def test_checkpoints_within_an_epoch_are_refused_where_they_would_change_the_weights() -> None:
    overrides = ["training.checkpoint_steps=30", "+optimizer.config.use_ema=true"]
    with pytest.raises(InputError, match=r"^training\.checkpoint_steps: should be null for an optimizer with use_ema$"):
        resolve(Train, compose("train", overrides, paths.CONF))
