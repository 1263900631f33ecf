from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from mnist_cnn import model, paths, training
from mnist_cnn.checkpoint import Progress
from mnist_cnn.configuration import compose, resolve
from mnist_cnn.dataset import Examples
from mnist_cnn.errors import InputError
from mnist_cnn.schema import Model, Optimizer, Train

OPTIMIZERS = sorted(file.stem for file in (paths.CONF / "optimizer").glob("*.yaml"))


def train(config: Train, examples: Examples, **changed: Any) -> tuple[keras.Model, pd.DataFrame]:
    training.make_reproducible(config.training.seed, config.training.threads)
    network = model.build(**config.model.model_dump(), precision=config.training.precision)
    settings = {
        "seed": config.training.seed,
        "batch_size": 32,
        "epochs": 2,
        "random_shift": config.training.random_shift,
        "label_smoothing": config.training.label_smoothing,
        "steps_per_execution": config.training.steps_per_execution,
        "validation_batch_size": config.training.validation_batch_size,
        "validate_every_epoch": True,
        "verbose": 0,
    }
    optimizer = training.build_optimizer(**config.optimizer.model_dump())
    history = training.train(network, optimizer, config.training.loss, examples, examples, **{**settings, **changed})
    return network, history


def weights(network: keras.Model) -> list[bytes]:
    return [weight.tobytes() for weight in network.get_weights()]


@pytest.fixture(scope="module")
def trained(train_config: Train, examples: Examples) -> tuple[keras.Model, pd.DataFrame]:
    return train(train_config, examples)


def test_the_history_has_a_row_per_epoch_from_1(trained: tuple[keras.Model, pd.DataFrame]) -> None:
    _, history = trained
    assert history.index.tolist() == [1, 2]
    assert history.columns.tolist() == ["loss", "accuracy", "val_loss", "val_accuracy", "seconds"]
    assert history.notna().all(axis=None)


def test_training_lowers_the_loss(trained: tuple[keras.Model, pd.DataFrame]) -> None:
    assert trained[1]["loss"].is_monotonic_decreasing


def test_the_same_seed_gives_the_same_weights_and_history(
    trained: tuple[keras.Model, pd.DataFrame], train_config: Train, examples: Examples
) -> None:
    network, history = train(train_config, examples)
    assert weights(network) == weights(trained[0])
    pd.testing.assert_frame_equal(history.drop(columns="seconds"), trained[1].drop(columns="seconds"), check_exact=True)


def test_another_seed_gives_other_weights(
    trained: tuple[keras.Model, pd.DataFrame], train_config: Train, examples: Examples
) -> None:
    settings = train_config.training.model_copy(update={"seed": train_config.training.seed + 1})
    network, _ = train(train_config.model_copy(update={"training": settings}), examples)
    assert weights(network) != weights(trained[0])


@pytest.mark.parametrize("setting", [{"steps_per_execution": 1}, {"validation_batch_size": 7}])
def test_a_speed_setting_does_not_change_the_weights(
    trained: tuple[keras.Model, pd.DataFrame], train_config: Train, examples: Examples, setting: dict[str, int]
) -> None:
    network, _ = train(train_config, examples, **setting)
    assert weights(network) == weights(trained[0])


def checkpoints(config: Train, examples: Examples, **changed: Any) -> list[Progress]:
    """Train without interruption, and keep every checkpoint."""
    kept: list[Progress] = []
    train(config, examples, on_checkpoint=kept.append, **changed)
    return kept


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_training_that_goes_on_after_an_epoch_ends_with_the_same_weights_slots_and_history(
    examples: Examples, optimizer: str
) -> None:
    config = resolve(Train, compose("train", [f"optimizer={optimizer}"], paths.CONF))
    network, history = train(config, examples)
    first, _ = checkpoints(config, examples)
    resumed, continued = train(config, examples, start=first)
    assert weights(resumed) == weights(network)
    slots = [[variable.numpy().tobytes() for variable in of.optimizer.variables] for of in (network, resumed)]
    assert slots[0] == slots[1]
    pd.testing.assert_frame_equal(continued.drop(columns="seconds"), history.drop(columns="seconds"), check_exact=True)


def test_a_training_that_goes_on_within_an_epoch_ends_with_the_same_weights_and_history(
    trained: tuple[keras.Model, pd.DataFrame], train_config: Train, examples: Examples
) -> None:
    within = [
        kept for kept in checkpoints(train_config, examples, steps_per_execution=2, checkpoint_steps=4) if kept.steps
    ]
    assert [(len(kept.rows), kept.steps) for kept in within] == [(0, 4), (1, 4)]
    for start in within:
        resumed, history = train(train_config, examples, start=start)
        assert weights(resumed) == weights(trained[0])
        pd.testing.assert_frame_equal(
            history.drop(columns="seconds"), trained[1].drop(columns="seconds"), check_exact=True
        )


def test_a_training_that_was_killed_after_its_last_epoch_only_hands_its_result_on(
    trained: tuple[keras.Model, pd.DataFrame], train_config: Train, examples: Examples
) -> None:
    last = checkpoints(train_config, examples)[-1]
    handed: dict[int, dict[str, float]] = {}
    resumed, history = train(train_config, examples, start=last, on_epoch=handed.__setitem__)
    assert weights(resumed) == weights(trained[0])
    assert handed == history.to_dict("index")


@pytest.mark.parametrize("batch_size", [32, 50, 200, 300])
def test_each_epoch_reads_every_image_once_in_an_order_of_its_own(examples: Examples, batch_size: int) -> None:
    order = tf.Variable(tf.range(200, dtype=tf.int64))
    batches = training._batches(tf.Variable(examples.images), tf.one_hot(examples.labels, 10), order, batch_size, 0)
    seen = []
    for epoch in range(2):
        order.assign(np.random.default_rng((42, epoch)).permutation(200))
        images = np.concatenate([images for images, _ in batches])
        np.testing.assert_array_equal(images, examples.images[order.numpy()])
        seen.append(images)
    assert not np.array_equal(seen[0], seen[1])


def test_moving_the_images_changes_the_weights(
    trained: tuple[keras.Model, pd.DataFrame], train_config: Train, examples: Examples
) -> None:
    assert weights(train(train_config, examples, random_shift=1)[0]) != weights(trained[0])


def test_label_smoothing_is_that_of_keras_own_loss(train_config: Train, examples: Examples) -> None:
    dense = {"class_name": "Dense", "config": {"units": 10, "activation": "softmax"}}
    flat = Model.model_validate({"name": "flat", "layers": [{"class_name": "Flatten"}, dense]})
    still = Optimizer(class_name="SGD", config={"learning_rate": 1e-30})
    config = train_config.model_copy(update={"model": flat, "optimizer": still})
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
    network, history = train(config, examples, label_smoothing=0.1, epochs=1)
    expected = loss(keras.utils.to_categorical(examples.labels, 10), network.predict(examples.images, verbose=0))
    assert history["loss"].iloc[0] == pytest.approx(float(expected), rel=1e-5)


def test_the_fast_training_is_reproduced_to_the_bit_and_goes_on_with_the_same_moved_images(examples: Examples) -> None:
    config = resolve(Train, compose("train", ["training=fast", "optimizer=nadam"], paths.CONF))
    network, _ = train(config, examples)
    kept = checkpoints(config, examples, steps_per_execution=2, checkpoint_steps=4)
    assert {bool(progress.steps) for progress in kept} == {True, False}  # within an epoch, and after it
    for start in (Progress(), *kept):
        assert weights(train(config, examples, start=start)[0]) == weights(network)


def test_a_share_in_a_schedule_is_of_the_steps_of_the_training() -> None:
    config = resolve(Train, compose("train", ["optimizer=nadam"], paths.CONF)).optimizer
    built = training.build_optimizer(**config.model_dump(), steps=705).get_config()
    schedule = built["learning_rate"]["config"]
    assert (schedule["warmup_steps"], schedule["decay_steps"]) == (106, 599)


def test_one_validation_after_the_last_epoch_does_not_change_the_weights(
    trained: tuple[keras.Model, pd.DataFrame], train_config: Train, examples: Examples
) -> None:
    network, history = train(train_config, examples, validate_every_epoch=False)
    assert weights(network) == weights(trained[0])
    assert history["val_accuracy"].isna().tolist() == [True, False]
    assert history["val_accuracy"].iloc[-1] == trained[1]["val_accuracy"].iloc[-1]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_keras_takes_every_value_of_every_optimizer_in_conf(name: str) -> None:
    config = resolve(Train, compose("train", [f"optimizer={name}"], paths.CONF)).optimizer
    resolved = training.build_optimizer(**config.model_dump()).get_config()
    for key, value in config.config.items():
        if isinstance(value, dict):
            absolute = {name: training._absolute(of, 100) for name, of in value["config"].items()}
            assert absolute.items() <= resolved[key]["config"].items()
        else:
            assert resolved[key] == pytest.approx(value)


@pytest.mark.parametrize(
    ("class_name", "config"),
    [
        ("SGDD", {}),
        ("SGD", {"momentun": 0.9}),
        ("SGD", {"momentum": -1}),
        ("SGD", {"learning_rate": {"class_name": "X"}}),
    ],
)
def test_an_optimizer_that_keras_refuses_is_named(class_name: str, config: dict[str, object]) -> None:
    with pytest.raises(InputError, match=rf"^Keras refuses optimizer {class_name} with "):
        training.build_optimizer(class_name, config)


def test_a_loss_that_is_no_number_ends_the_training_with_a_remedy(train_config: Train, examples: Examples) -> None:
    optimizer = train_config.optimizer.model_copy(update={"config": {"learning_rate": 100.0}})
    with pytest.raises(InputError, match=r"^The loss is no finite number in epoch 1: lower the learning rate\."):
        train(train_config.model_copy(update={"optimizer": optimizer}), examples)


def test_a_loss_that_keras_does_not_know_is_named(train_config: Train, examples: Examples) -> None:
    settings = train_config.training.model_copy(update={"loss": "crosentropy"})
    with pytest.raises(InputError, match=r"^Keras does not know training\.loss=crosentropy\.$"):
        train(train_config.model_copy(update={"training": settings}), examples)


def test_each_epoch_is_handed_on_as_the_history_has_it(train_config: Train, examples: Examples) -> None:
    handed: dict[int, dict[str, float]] = {}
    _, history = train(train_config, examples, on_epoch=handed.__setitem__)
    assert handed == history.to_dict("index")


def complete(class_name: str, config: dict[str, Any]) -> dict[str, Any]:
    optimizer = training.build_optimizer(class_name, config)
    return training.complete_configuration({"optimizer": {"class_name": class_name, "config": config}}, optimizer)


def test_a_value_that_keras_chose_is_in_the_configuration_and_named() -> None:
    completed = complete("Adadelta", {"learning_rate": 1.0, "epsilon": 1e-7})
    assert completed["optimizer"]["config"]["rho"] == 0.95
    assert completed["library_defaults"] == ["optimizer.config.rho"]


def test_a_value_that_keras_chose_for_a_schedule_is_named() -> None:
    schedule = {"class_name": "PolynomialDecay", "config": {"initial_learning_rate": 0.1, "decay_steps": 9}}
    completed = complete("SGD", {"learning_rate": schedule})
    assert completed["optimizer"]["config"]["learning_rate"]["config"]["end_learning_rate"] == 0.0001
    assert completed["library_defaults"] == [
        "optimizer.config.learning_rate.config.end_learning_rate",
        "optimizer.config.learning_rate.config.power",
    ]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_value_of_an_optimizer_in_conf_is_left_to_keras(name: str) -> None:
    config = resolve(Train, compose("train", [f"optimizer={name}"], paths.CONF)).optimizer.model_dump()
    completed = complete(**config)
    assert completed["library_defaults"] == []
    assert completed["optimizer"]["config"].items() >= config["config"].items()
