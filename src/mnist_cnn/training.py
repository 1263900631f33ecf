"""Training: seeded, with a fixed number of threads, so that the same input gives the same bytes."""

import hashlib
import platform
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from mnist_cnn.dataset import CLASSES, Examples
from mnist_cnn.errors import InputError


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
    verbose: int = 1,
) -> pd.DataFrame:
    """Train `model` in place and return its history.

    Args:
        model: fresh from `model.build`.
        optimizer: fresh from `build_optimizer`.
        loss: the name of a Keras loss on one-hot labels.
        training: what the weights are fitted to.
        validation: what is measured after each epoch; does not change the weights.
        batch_size: images per gradient step.
        epochs: passes over the training images.
        steps_per_execution: gradient steps between two returns to Python; does not change the weights.
        validation_batch_size: images per forward step; does not change the weights.
        verbose: 1 draws a progress bar, 2 writes a line per epoch, 0 is silent.

    Returns:
        Columns loss, accuracy, val_loss, val_accuracy and seconds; index epoch, from 1. `loss` and `accuracy` are means
        over the epoch, with dropout, as Keras reports them; seconds include the validation.

    Raises:
        InputError: Keras does not know the loss, or it became infinite or not a number.
    """
    try:
        keras.losses.get(loss)
    except ValueError as error:
        raise InputError(f"Keras does not know training.loss={loss}.") from error
    stamps: list[float] = []
    clock = keras.callbacks.LambdaCallback(
        on_train_begin=lambda _logs: stamps.append(time.perf_counter()),
        on_epoch_end=lambda _epoch, _logs: stamps.append(time.perf_counter()),
    )
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"], steps_per_execution=steps_per_execution)
    history = model.fit(
        training.images,
        keras.utils.to_categorical(training.labels, CLASSES),
        batch_size=batch_size,
        epochs=epochs,
        validation_data=(validation.images, keras.utils.to_categorical(validation.labels, CLASSES)),
        validation_batch_size=validation_batch_size,
        callbacks=[keras.callbacks.TerminateOnNaN(), clock],
        verbose=verbose,
    ).history
    frame = pd.DataFrame(history, columns=["loss", "accuracy", "val_loss", "val_accuracy"])
    frame["seconds"] = np.diff(stamps)
    frame.index = pd.RangeIndex(1, len(frame) + 1, name="epoch")
    if not np.isfinite(frame[["loss", "val_loss"]]).all(axis=None):
        raise InputError(f"The loss is no finite number in epoch {len(frame)}: lower the learning rate.")
    return frame


def describe_execution(model: Path, epoch_seconds: Iterable[float]) -> dict[str, Any]:
    """Return what the next execution will not repeat, with the MD5 of the model that came of this one."""
    return {
        "model_md5": hashlib.md5(model.read_bytes(), usedforsecurity=False).hexdigest(),
        "epoch_seconds": [round(seconds, 3) for seconds in epoch_seconds],
        "python": platform.python_version(),
        "platform": platform.platform(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }
