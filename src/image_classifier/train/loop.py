"""The training loop: the same input gives the same bits, also after an interruption."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import keras
import numpy as np
import pandas as pd

from image_classifier.dataset import Examples
from image_classifier.errors import InputError
from image_classifier.train.checkpoint import TrainingState
from image_classifier.train.input_pipeline import BatchReader

if TYPE_CHECKING:
    from image_classifier.config.schema import Train

METRICS = ["loss", "accuracy", "val_loss", "val_accuracy"]


class TrainingCallback(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Prepares the images of each epoch, collects the history and hands over the state for checkpoints."""

    def __init__(
        self,
        start: TrainingState,
        prepare_epoch: Callable[[int], None],
        on_epoch: Callable[[int, dict[str, float]], None],
        on_checkpoint: Callable[[TrainingState], None],
        checkpoint_steps: int | None,
    ) -> None:
        """See `fit` for the arguments; `prepare_epoch` receives the number of the epoch from 0."""
        super().__init__()
        self.rows = list(start.rows)
        self._start, self._prepare_epoch = start, prepare_epoch
        self._on_epoch, self._on_checkpoint, self._checkpoint_steps = on_epoch, on_checkpoint, checkpoint_steps
        self._last_checkpoint = 0
        self._epoch_began = 0.0

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """Start the clock."""
        self._epoch_began = time.perf_counter() - self._start.seconds

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """Prepare the images, and restore the metrics of a partly trained epoch."""
        self._prepare_epoch(epoch)
        if self._start.metrics:
            for variable, value in zip(self.model.metrics_variables, self._start.metrics, strict=True):
                variable.assign(value)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """Hand over the state within an epoch."""
        steps = self._start.steps + batch + 1
        due = self._checkpoint_steps and steps - self._last_checkpoint >= self._checkpoint_steps
        if due and batch + 1 < self.params["steps"]:
            self._last_checkpoint = steps
            self._hand_over_state(steps, time.perf_counter() - self._epoch_began)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Add a row to the history and hand over the state."""
        began, self._epoch_began = self._epoch_began, time.perf_counter()
        values = {name: logs[name] for name in METRICS if name in logs}
        self.rows.append({**values, "seconds": self._epoch_began - began})
        self._start, self._last_checkpoint = TrainingState(), 0
        self._hand_over_state(0, 0.0)
        self._on_epoch(epoch + 1, self.rows[-1])

    def _hand_over_state(self, steps: int, seconds: float) -> None:
        variables = (variable.numpy() for variable in _variables(self.model))
        metrics = (variable.numpy() for variable in self.model.metrics_variables) if steps else ()
        self._on_checkpoint(TrainingState(steps, seconds, tuple(self.rows), tuple(variables), tuple(metrics)))


def _variables(model: keras.Model) -> list[keras.Variable]:
    return [*model.variables, *model.optimizer.variables]


def fit(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    training: Examples,
    validation: Examples,
    config: "Train",
    *,
    start: TrainingState | None = None,
    on_checkpoint: Callable[[TrainingState], None] = lambda _state: None,
    on_epoch: Callable[[int, dict[str, float]], None] = lambda _epoch, _values: None,
    verbose: int = 1,
) -> pd.DataFrame:
    """Train `model` in place and return its history.

    Resuming from a `TrainingState` gives the same bits as an uninterrupted training. The order and the shifts of the
    images depend on the seed and the epoch alone, and everything else that changes is part of the state.

    Args:
        model: Model from `build_model`, untrained.
        optimizer: Optimizer from `build_optimizer`, unused.
        training: Images that the weights are fitted to.
        validation: Images that are measured; they do not change the weights.
        config: Configuration of the training. Label smoothing (arXiv:1512.00567, section 7) raises the training loss.
        start: State of an interrupted training.
        on_checkpoint: Receives the state after each epoch, and within an epoch after every
            `config.training.checkpoint_steps` steps, rounded up to `steps_per_execution`.
        on_epoch: Receives the number of each epoch, from 1, and its row of the history. When training resumes, it first
            receives the completed epochs.
        verbose: 1 draws a progress bar, 2 writes a line per epoch, 0 is silent.

    Returns:
        Columns loss, accuracy, val_loss, val_accuracy and seconds; index epoch, from 1. `loss` and `accuracy` are means
        over the epoch, with dropout, as Keras reports them. `seconds` includes the validation. Epochs without a
        validation have NaN as val_loss and val_accuracy.

    Raises:
        InputError: The loss became NaN or infinite.
    """
    settings, start = config.training, start or TrainingState()
    model.compile(
        optimizer=optimizer,
        loss=settings.loss,
        metrics=["accuracy"],
        steps_per_execution=settings.steps_per_execution,
    )
    optimizer.build(model.trainable_variables)
    if start.variables:
        for variable, value in zip(_variables(model), start.variables, strict=True):
            variable.assign(value)
    for epoch, row in enumerate(start.rows, 1):
        on_epoch(epoch, row)

    batches = BatchReader(training, config.batch_size, settings.label_smoothing, settings.max_shift_px)
    validation_batches = BatchReader(validation, settings.validation_batch_size).dataset()

    def prepare_epoch(epoch: int) -> None:
        batches.shuffle(np.random.default_rng((settings.seed, epoch)))

    callback = TrainingCallback(start, prepare_epoch, on_epoch, on_checkpoint, settings.checkpoint_steps)

    def fit_epochs(first_epoch: int, last_epoch: int, first_batch: int) -> None:
        model.fit(
            batches.dataset(first_batch),
            initial_epoch=first_epoch,
            epochs=last_epoch,
            validation_data=validation_batches,
            validation_freq=1 if config.validation.every_epoch else config.epochs,
            shuffle=False,  # `batches` decides
            callbacks=[keras.callbacks.TerminateOnNaN(), callback],
            verbose=verbose,
        )

    completed = len(start.rows)
    if start.steps:
        images, targets = batches.read(0)
        model.compute_metrics(images[:1], targets[:1], targets[:1])  # creates the variables of the metrics
        fit_epochs(completed, completed + 1, start.steps)
    if not model.stop_training:
        fit_epochs(len(callback.rows), config.epochs, 0)
    index = pd.RangeIndex(1, len(callback.rows) + 1, name="epoch")
    history = pd.DataFrame(callback.rows, index, [*METRICS, "seconds"])
    losses = [row[name] for row in callback.rows for name in ("loss", "val_loss") if name in row]
    if not np.isfinite(losses).all():
        raise InputError(f"The loss became NaN or infinite in epoch {len(history)}. Lower optimizer.learning_rate.")
    return history
