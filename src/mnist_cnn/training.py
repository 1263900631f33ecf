"""Training: seeded, with a fixed number of threads, so that the same input gives the same bytes."""

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from mnist_cnn.dataset import CLASSES, Examples
from mnist_cnn.errors import InputError

MEASURES = ["loss", "accuracy", "val_loss", "val_accuracy"]


def make_reproducible(seed: int, threads: int) -> None:
    """Seed initial weights, shuffling and dropout, and fix the order in which an operation adds floats.

    Call it once in a process, before any TensorFlow operation.

    Args:
        seed: 0 to 2**32 - 1.
        threads: within one operation; another number gives other bits.

    Raises:
        RuntimeError: TensorFlow has already started with another number of threads.
    """
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    keras.utils.set_random_seed(seed)


def build_optimizer(class_name: str, config: dict[str, Any]) -> keras.optimizers.Optimizer:
    """Build any Keras optimizer; its learning rate may be a schedule in the same form.

    Raises:
        InputError: Keras does not know the class or refuses its configuration.
    """
    if isinstance(schedule := config.get("learning_rate"), dict):
        config = {**config, "learning_rate": {"module": "keras.optimizers.schedules", **schedule}}
    try:
        return keras.optimizers.get({"class_name": class_name, "config": config})
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"Keras refuses optimizer {class_name} with {config}: {reason}") from error


def complete_configuration(config: dict[str, Any], optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    """Add to a configuration the optimizer's values that Keras chose.

    Args:
        config: of a training; its `optimizer` has a class_name and a config.
        optimizer: built with them.

    Returns:
        The same with every value of the optimizer; what was written stays as it was written. `library_defaults` names
        those that decide the result and were chosen by Keras, whose next version may choose others. What is switched
        off (None, False, 0, an average that is not used) decides nothing.
    """
    written = config["optimizer"]["config"]
    complete = _complete(written, optimizer.get_config())
    return {
        **config,
        "optimizer": {**config["optimizer"], "config": complete},
        "library_defaults": _added(complete, written, "optimizer.config."),
    }


def _added(complete: dict[str, Any], written: dict[str, Any], prefix: str) -> list[str]:
    names = []
    for key, value in complete.items():
        unused = key.startswith("ema_") and not complete["use_ema"]
        if isinstance(value, dict):
            names += _added(value, written.get(key, {}), f"{prefix}{key}.")
        elif key not in written and value not in (None, False) and not unused:
            names.append(f"{prefix}{key}")
    return names


def _complete(written: dict[str, Any], chosen: dict[str, Any]) -> dict[str, Any]:
    bookkeeping = {"name", "module", "registered_name"}
    completed = {}
    for key, value in chosen.items():
        if isinstance(value, dict) and isinstance(written.get(key), dict):
            completed[key] = _complete(written[key], value)
        elif key not in bookkeeping:
            completed[key] = written.get(key, value)
    return completed


class _Epochs(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Measure the seconds of each epoch, and hand its row on."""

    def __init__(self, on_epoch: Callable[[int, dict[str, float]], None]) -> None:
        super().__init__()
        self.rows: list[dict[str, float]] = []
        self._on_epoch = on_epoch
        self._stamp = 0.0

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self._stamp = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        began, self._stamp = self._stamp, time.perf_counter()
        measured = {name: logs[name] for name in MEASURES if name in logs}
        self.rows.append({**measured, "seconds": self._stamp - began})
        self._on_epoch(epoch + 1, self.rows[-1])


def train(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    loss: str,
    training: Examples,
    validation: Examples,
    *,
    batch_size: int,
    epochs: int,
    steps_per_execution: int,
    validation_batch_size: int,
    validate_every_epoch: bool,
    on_epoch: Callable[[int, dict[str, float]], None] = lambda _epoch, _values: None,
    verbose: int = 1,
) -> pd.DataFrame:
    """Train `model` in place and return its history.

    Args:
        model: fresh from `model.build`.
        optimizer: fresh from `build_optimizer`.
        loss: the name of a Keras loss on one-hot labels.
        training: what the weights are fitted to.
        validation: what is measured; does not change the weights.
        batch_size: images per gradient step.
        epochs: passes over the training images.
        steps_per_execution: gradient steps between two returns to Python; does not change the weights.
        validation_batch_size: images per forward step; does not change the weights.
        validate_every_epoch: measure after each epoch, or only after the last.
        on_epoch: called after each epoch with its number, from 1, and its row of the history.
        verbose: 1 draws a progress bar, 2 writes a line per epoch, 0 is silent.

    Returns:
        Columns loss, accuracy, val_loss, val_accuracy and seconds; index epoch, from 1. `loss` and `accuracy` are means
        over the epoch, with dropout, as Keras reports them; seconds include the validation. Without a
        validation val_loss and val_accuracy are missing (NaN).

    Raises:
        InputError: Keras does not know the loss, or it became infinite or not a number.
    """
    try:
        keras.losses.get(loss)
    except ValueError as error:
        raise InputError(f"Keras does not know training.loss={loss}.") from error
    epochs_seen = _Epochs(on_epoch)
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"], steps_per_execution=steps_per_execution)
    model.fit(
        training.images,
        keras.utils.to_categorical(training.labels, CLASSES),
        batch_size=batch_size,
        epochs=epochs,
        validation_data=(validation.images, keras.utils.to_categorical(validation.labels, CLASSES)),
        validation_batch_size=validation_batch_size,
        validation_freq=1 if validate_every_epoch else epochs,
        callbacks=[keras.callbacks.TerminateOnNaN(), epochs_seen],
        verbose=verbose,
    )
    index = pd.RangeIndex(1, len(epochs_seen.rows) + 1, name="epoch")
    frame = pd.DataFrame(epochs_seen.rows, index, [*MEASURES, "seconds"])
    losses = [row[name] for row in epochs_seen.rows for name in ("loss", "val_loss") if name in row]
    if not np.isfinite(losses).all():
        raise InputError(f"The loss is no finite number in epoch {len(frame)}: lower the learning rate.")
    return frame
