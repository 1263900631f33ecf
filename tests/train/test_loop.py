from typing import Any

import keras
import pandas as pd
import pytest

from image_classifier import paths
from image_classifier.config.compose import compose, resolve
from image_classifier.config.schema import Model, Train
from image_classifier.dataset import Examples, scale_pixels
from image_classifier.determinism import set_seed_and_threads
from image_classifier.errors import InputError
from image_classifier.train.checkpoint import TrainingState
from image_classifier.train.loop import fit
from image_classifier.train.model import build_model
from image_classifier.train.optimizer import build_optimizer

OPTIMIZERS = sorted(file.stem for file in (paths.CONF / "optimizer").glob("*.yaml"))


def configure(*overrides: str) -> Train:
    return resolve(Train, compose("train", [*overrides, "epochs=2"]))


def train(config: Train, examples: Examples, **arguments: Any) -> tuple[keras.Model, pd.DataFrame]:
    set_seed_and_threads(config.training.seed, config.training.intra_op_threads)
    shape, classes = examples.images.shape[1:], len(examples.classes)
    model = build_model(config.model.name, config.model.layers, shape, classes, config.training.precision)
    history = fit(model, build_optimizer(config.optimizer), examples, examples, config, verbose=0, **arguments)
    return model, history


def weights(model: keras.Model) -> list[bytes]:
    return [weight.tobytes() for weight in model.get_weights()]


def assert_equal_histories(history: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(history.drop(columns="seconds"), other.drop(columns="seconds"), check_exact=True)


@pytest.fixture(scope="module")
def trained(examples: Examples) -> tuple[keras.Model, pd.DataFrame]:
    return train(configure(), examples)


def test_the_history_has_a_row_per_epoch_from_1(trained: tuple[keras.Model, pd.DataFrame]) -> None:
    _, history = trained
    assert history.index.tolist() == [1, 2]
    assert history.columns.tolist() == ["loss", "accuracy", "val_loss", "val_accuracy", "seconds"]
    assert history.notna().all(axis=None)


def test_training_lowers_the_loss(trained: tuple[keras.Model, pd.DataFrame]) -> None:
    assert trained[1]["loss"].is_monotonic_decreasing


def test_the_same_seed_gives_the_same_weights_and_history(
    trained: tuple[keras.Model, pd.DataFrame], examples: Examples
) -> None:
    model, history = train(configure(), examples)
    assert weights(model) == weights(trained[0])
    assert_equal_histories(history, trained[1])


def test_another_seed_gives_other_weights(trained: tuple[keras.Model, pd.DataFrame], examples: Examples) -> None:
    assert weights(train(configure("training.seed=43"), examples)[0]) != weights(trained[0])


@pytest.mark.parametrize("setting", ["training.steps_per_execution=1", "training.validation_batch_size=7"])
def test_a_speed_setting_does_not_change_the_weights(
    trained: tuple[keras.Model, pd.DataFrame], examples: Examples, setting: str
) -> None:
    assert weights(train(configure(setting), examples)[0]) == weights(trained[0])


def checkpoints(config: Train, examples: Examples) -> list[TrainingState]:
    """Train without interruption and return the state of every checkpoint."""
    states: list[TrainingState] = []
    train(config, examples, on_checkpoint=states.append)
    return states


@pytest.mark.parametrize(
    "optimizer", [name if name == "adadelta" else pytest.param(name, marks=pytest.mark.slow) for name in OPTIMIZERS]
)
def test_resuming_after_an_epoch_gives_the_same_weights_slots_and_history(examples: Examples, optimizer: str) -> None:
    config = configure(f"optimizer={optimizer}")
    model, history = train(config, examples)
    first, _ = checkpoints(config, examples)
    resumed, resumed_history = train(config, examples, start=first)
    assert weights(resumed) == weights(model)
    slots = [[variable.numpy().tobytes() for variable in one.optimizer.variables] for one in (model, resumed)]
    assert slots[0] == slots[1]
    assert_equal_histories(resumed_history, history)


def test_resuming_within_an_epoch_gives_the_same_weights_and_history(
    trained: tuple[keras.Model, pd.DataFrame], examples: Examples
) -> None:
    often = configure("training.steps_per_execution=2", "training.checkpoint_steps=4")
    within = [state for state in checkpoints(often, examples) if state.steps]
    assert [(len(state.rows), state.steps) for state in within] == [(0, 4), (1, 4)]
    for start in within:
        resumed, history = train(configure(), examples, start=start)
        assert weights(resumed) == weights(trained[0])
        assert_equal_histories(history, trained[1])


def test_resuming_after_the_last_epoch_returns_the_result_without_training(
    trained: tuple[keras.Model, pd.DataFrame], examples: Examples
) -> None:
    last = checkpoints(configure(), examples)[-1]
    rows: dict[int, dict[str, float]] = {}
    resumed, history = train(configure(), examples, start=last, on_epoch=rows.__setitem__)
    assert weights(resumed) == weights(trained[0])
    assert rows == history.to_dict("index")


def test_moving_the_images_changes_the_weights(trained: tuple[keras.Model, pd.DataFrame], examples: Examples) -> None:
    assert weights(train(configure("training.max_shift_px=1"), examples)[0]) != weights(trained[0])


def test_label_smoothing_equals_that_of_keras_own_loss(examples: Examples) -> None:
    dense = {"_target_": "keras.layers.Dense", "units": 10, "activation": "softmax"}
    flat = Model.model_validate({"name": "flat", "layers": [{"_target_": "keras.layers.Flatten"}, dense]})
    config = configure("training.label_smoothing=0.1", "optimizer.learning_rate=1e-30")
    config = config.model_copy(update={"model": flat, "epochs": 1})
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
    model, history = train(config, examples)
    probabilities = model.predict(scale_pixels(examples.images), verbose=0)
    expected = loss(keras.utils.to_categorical(examples.labels, 10), probabilities)
    assert history["loss"].iloc[0] == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_the_fast_training_is_reproduced_to_the_bit_and_resumes_with_the_same_moved_images(
    examples: Examples, precision: str
) -> None:
    fast = ("training=fast", "optimizer=nadam", f"training.precision={precision}")
    config = configure(*fast)
    model, _ = train(config, examples)
    states = checkpoints(configure(*fast, "training.steps_per_execution=2", "training.checkpoint_steps=4"), examples)
    assert {bool(state.steps) for state in states} == {True, False}  # within an epoch, and after it
    for start in (TrainingState(), *states):
        assert weights(train(config, examples, start=start)[0]) == weights(model)


def test_one_validation_after_the_last_epoch_does_not_change_the_weights(
    trained: tuple[keras.Model, pd.DataFrame], examples: Examples
) -> None:
    model, history = train(configure("validation=final_test"), examples)
    assert weights(model) == weights(trained[0])
    assert history["val_accuracy"].isna().tolist() == [True, False]
    assert history["val_accuracy"].iloc[-1] == trained[1]["val_accuracy"].iloc[-1]


def test_an_infinite_loss_ends_the_training_with_a_remedy(examples: Examples) -> None:
    with pytest.raises(
        InputError, match=r"^The loss became NaN or infinite in epoch 1\. Lower optimizer\.learning_rate\.$"
    ):
        train(configure("optimizer.learning_rate=100"), examples)


def test_on_epoch_receives_the_rows_of_the_history(examples: Examples) -> None:
    rows: dict[int, dict[str, float]] = {}
    _, history = train(configure(), examples, on_epoch=rows.__setitem__)
    assert rows == history.to_dict("index")
