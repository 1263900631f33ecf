"""Training: seeded, with a fixed number of threads, so that the same input gives the same bytes."""

import math
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from mnist_cnn.checkpoint import Progress
from mnist_cnn.dataset import CLASSES, Examples, shift
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


def build_optimizer(class_name: str, config: dict[str, Any], steps: int = 100) -> keras.optimizers.Optimizer:
    """Build any Keras optimizer; its learning rate may be a schedule in the same form.

    Args:
        class_name: of Keras.
        config: of the optimizer. In that of a schedule "15%" stands for that share of the training's steps.
        steps: of the training: epochs times gradient steps in an epoch. An optimizer that is only looked at needs none.

    Raises:
        InputError: Keras does not know the class or refuses its configuration.
    """
    if isinstance(schedule := config.get("learning_rate"), dict):
        absolute = {key: _absolute(value, steps) for key, value in schedule.get("config", {}).items()}
        config = {
            **config,
            "learning_rate": {"module": "keras.optimizers.schedules", **schedule, "config": absolute},
        }
    try:
        return keras.optimizers.get({"class_name": class_name, "config": config})
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"Keras refuses optimizer {class_name} with {config}: {reason}") from error


def _absolute(value: Any, steps: int) -> Any:
    return round(float(value.removesuffix("%")) / 100 * steps) if isinstance(value, str) else value


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


class _Course(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """What happens around the epochs: other images, the row of the history, checkpoints."""

    def __init__(
        self,
        start: Progress,
        prepare: Callable[[int], None],
        on_epoch: Callable[[int, dict[str, float]], None],
        on_checkpoint: Callable[[Progress], None],
        checkpoint_steps: int | None,
    ) -> None:
        super().__init__()
        self.rows = list(start.rows)
        self._start, self._prepare = start, prepare
        self._on_epoch, self._on_checkpoint, self._checkpoint_steps = on_epoch, on_checkpoint, checkpoint_steps
        self._kept = 0
        self._stamp = 0.0

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self._stamp = time.perf_counter() - self._start.seconds

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self._prepare(epoch)
        if self._start.measured:
            for variable, value in zip(self.model.metrics_variables, self._start.measured, strict=True):
                variable.assign(value)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        steps = self._start.steps + batch + 1
        due = self._checkpoint_steps and steps - self._kept >= self._checkpoint_steps
        if due and batch + 1 < self.params["steps"]:
            self._kept = steps
            self._keep(steps, time.perf_counter() - self._stamp)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        began, self._stamp = self._stamp, time.perf_counter()
        measured = {name: logs[name] for name in MEASURES if name in logs}
        self.rows.append({**measured, "seconds": self._stamp - began})
        self._start, self._kept = Progress(), 0
        self._keep(0, 0.0)
        self._on_epoch(epoch + 1, self.rows[-1])

    def _keep(self, steps: int, seconds: float) -> None:
        variables = (variable.numpy() for variable in _variables(self.model))
        measured = (variable.numpy() for variable in self.model.metrics_variables) if steps else ()
        self._on_checkpoint(Progress(steps, seconds, tuple(self.rows), tuple(variables), tuple(measured)))


def _variables(model: keras.Model) -> list[keras.Variable]:
    return [*model.variables, *model.optimizer.variables]


def _batches(
    images: tf.Variable, targets: tf.Tensor, order: tf.Variable, batch_size: int, first: int
) -> tf.data.Dataset:
    """Read the images as they are when an epoch begins.

    Args:
        images: float32, (n, 28, 28, 1), in [0, 1].
        targets: float32, (n, 10), probabilities.
        order: int64, (n,), positions of the images.
        batch_size: the last batch may have fewer.
        first: batches that are left out.
    """
    count = math.ceil(len(targets) / batch_size)

    # TensorFlow tunes a dataset with a thread that sleeps for 10 ms, 20 ms, 40 ms, … The end of an epoch, which has to
    # wake it, fails to now and then and waits until it wakes by itself: the epoch takes up to twice as long.
    options = tf.data.Options()
    options.autotune.enabled = False

    def epoch(_: tf.Tensor) -> tf.data.Dataset:
        positions, pixels = order.read_value(), images.read_value()

        def batch(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            chosen = positions[number * batch_size : (number + 1) * batch_size]
            return tf.gather(pixels, chosen), tf.gather(targets, chosen)

        return tf.data.Dataset.range(first, count).map(batch)

    return (
        tf.data.Dataset.range(1)
        .flat_map(epoch)
        .apply(tf.data.experimental.assert_cardinality(count - first))
        .prefetch(2)
        .with_options(options)
    )


def train(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    loss: str,
    training: Examples,
    validation: Examples,
    *,
    seed: int,
    batch_size: int,
    epochs: int,
    random_shift: int,
    label_smoothing: float,
    steps_per_execution: int,
    validation_batch_size: int,
    validate_every_epoch: bool,
    start: Progress | None = None,
    checkpoint_steps: int | None = None,
    on_checkpoint: Callable[[Progress], None] = lambda _progress: None,
    on_epoch: Callable[[int, dict[str, float]], None] = lambda _epoch, _values: None,
    verbose: int = 1,
) -> pd.DataFrame:
    """Train `model` in place and return its history.

    Training from the progress of an earlier process gives the same bits as training without interruption: the order and
    the shifts of the images depend on the seed and the epoch alone, and all else that changes is in the progress.

    Args:
        model: fresh from `model.build`.
        optimizer: fresh from `build_optimizer`.
        loss: the name of a Keras loss on one-hot labels.
        training: what the weights are fitted to.
        validation: what is measured; does not change the weights.
        seed: of the order and shifts of the images; 0 to 2**32 - 1.
        batch_size: images per gradient step.
        epochs: passes over the training images.
        random_shift: pixels up to which each training image is moved, anew in each epoch.
        label_smoothing: share of each training target that all classes have alike, 0 to 1 (arXiv:1512.00567, section
            7). It raises the training loss, and only that.
        steps_per_execution: gradient steps between two returns to Python; does not change the weights.
        validation_batch_size: images per forward step; does not change the weights.
        validate_every_epoch: measure after each epoch, or only after the last.
        start: what an earlier process has done of this training.
        checkpoint_steps: gradient steps between checkpoints within an epoch, rounded up to `steps_per_execution`; None
            is none. There is one after each epoch anyway.
        on_checkpoint: called with the progress.
        on_epoch: called after each epoch with its number, from 1, and its row of the history; at the start for
            epochs that an earlier process has done.
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
    start = start or Progress()
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"], steps_per_execution=steps_per_execution)
    optimizer.build(model.trainable_variables)
    if start.variables:
        for variable, value in zip(_variables(model), start.variables, strict=True):
            variable.assign(value)
    for epoch, row in enumerate(start.rows, 1):
        on_epoch(epoch, row)

    order = tf.Variable(tf.range(len(training.labels), dtype=tf.int64))
    images = tf.Variable(training.images)
    alike = label_smoothing / CLASSES
    targets = tf.one_hot(training.labels, CLASSES, on_value=1 - label_smoothing + alike, off_value=alike)

    def prepare(epoch: int) -> None:
        random = np.random.default_rng((seed, epoch))
        order.assign(random.permutation(len(training.labels)))
        if random_shift:
            images.assign(shift(training.images, random_shift, random))

    in_turn = tf.Variable(tf.range(len(validation.labels), dtype=tf.int64))
    truth = tf.one_hot(validation.labels, CLASSES)
    measured = _batches(tf.Variable(validation.images), truth, in_turn, validation_batch_size, 0)
    course = _Course(start, prepare, on_epoch, on_checkpoint, checkpoint_steps)

    def fit(first_epoch: int, last_epoch: int, first_batch: int) -> None:
        model.fit(
            _batches(images, targets, order, batch_size, first_batch),
            initial_epoch=first_epoch,
            epochs=last_epoch,
            validation_data=measured,
            validation_freq=1 if validate_every_epoch else epochs,
            shuffle=False,  # `order` does
            callbacks=[keras.callbacks.TerminateOnNaN(), course],
            verbose=verbose,
        )

    done = len(start.rows)
    if start.steps:
        one_hot = tf.one_hot(training.labels[:1], CLASSES)
        model.compute_metrics(training.images[:1], one_hot, one_hot)  # Keras makes their variables with the first batch
        fit(done, done + 1, start.steps)
    if not model.stop_training:
        fit(len(course.rows), epochs, 0)
    index = pd.RangeIndex(1, len(course.rows) + 1, name="epoch")
    frame = pd.DataFrame(course.rows, index, [*MEASURES, "seconds"])
    losses = [row[name] for row in course.rows for name in ("loss", "val_loss") if name in row]
    if not np.isfinite(losses).all():
        raise InputError(f"The loss is no finite number in epoch {len(frame)}: lower the learning rate.")
    return frame
