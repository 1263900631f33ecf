"""One training from its configuration to its files."""

import math
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from image_classifier import environment, paths
from image_classifier.dataset import load_for_training
from image_classifier.errors import InputError
from image_classifier.files import acquire_lock, atomic_write
from image_classifier.train.checkpoint import TrainingState, load_checkpoint, write_checkpoint

if TYPE_CHECKING:
    from image_classifier.config.schema import Train
    from image_classifier.paths import RunFiles
    from image_classifier.provenance.revision import Revision
    from image_classifier.provenance.run_metadata import RunMetadata


class Tracker(Protocol):
    """Receives the epochs of a training while it runs."""

    def log_epoch(self, epoch: int, values: dict[str, float]) -> None:
        """Record an epoch, from 1, and its row of the history."""


def train_run(
    config: "Train",
    command: str,
    files: "RunFiles",
    track: Callable[["RunMetadata"], AbstractContextManager[Tracker]],
    *,
    verbose: int,
    revision: "Revision | None" = None,
    parent: str | None = None,
    on_epoch: Callable[[int, dict[str, float]], None] = lambda _epoch, _values: None,
) -> None:
    """Train a run in this process, which has not trained before, and write its config.yaml, history.csv and model.h5.

    Args:
        config: Configuration of the run.
        command: Command line that starts the training.
        files: Files to write.
        track: Starts to track a training.
        verbose: See `fit`.
        revision: Git revision of the code, if this is a copy of another workspace.
        parent: MLflow run of the sweep that the training belongs to.
        on_epoch: See `fit`.

    Raises:
        BusyError: Another process trains this run.
        FileNotFoundError: The prepared data set is missing.
        InputError: A value of the configuration cannot be used, or the loss became NaN or infinite.
    """
    busy = f"run={config.run} is being trained by another process. Wait for it, or choose another run=…"
    lock = acquire_lock(paths.training_lock(config.run), busy)
    if config.training.precision == "mixed_bfloat16" and not environment.has_bfloat16():
        print("Warning: this processor emulates bfloat16: slower than training.precision=float32.", file=sys.stderr)
    training, validation = load_for_training(paths.prepared_data(config.data.name), config.validation.size)
    images = len(training)
    if config.batch_size > images:
        raise InputError(f"batch_size={config.batch_size}: should be at most {images}, the number of training images.")

    with environment.tensorflow_import():
        from image_classifier.determinism import set_seed_and_threads
        from image_classifier.provenance.fingerprint import TrainingInput, training_files
        from image_classifier.provenance.revision import workspace_revision
        from image_classifier.provenance.run_metadata import RunMetadata
        from image_classifier.train.loop import fit
        from image_classifier.train.model import build_model
        from image_classifier.train.optimizer import build_optimizer, complete_config, dump_config

        set_seed_and_threads(config.training.seed, config.training.intra_op_threads)
    shape, classes = training.images.shape[1:], len(training.classes)
    model = build_model(config.model.name, config.model.layers, shape, classes, config.training.precision)
    optimizer = build_optimizer(config.optimizer, steps=config.epochs * math.ceil(images / config.batch_size))
    complete = complete_config(config.fingerprint_config(), optimizer)
    for name in complete["library_defaults"]:
        print(f"Warning: {name} is Keras' default, which another version may change. Write it down in conf/optimizer/.")

    code_and_data = training_files(config.data.name)
    metadata = RunMetadata.start(
        TrainingInput(config.run, command, dump_config(complete), code_and_data),
        images,
        revision or workspace_revision(["conf", *code_and_data]),
        parent,
    )
    origin = {"configuration": metadata.input.configuration, **code_and_data, **metadata.environment}
    checkpoint = paths.checkpoint(config.run)
    try:
        start = load_checkpoint(checkpoint, origin)
    except InputError as error:
        print(f"Warning: {error}. Training starts over.", file=sys.stderr)
        start = TrainingState()
    if start.variables:
        print(f"Resuming after {len(start.rows)} epochs and {start.steps} steps.", flush=True)
        metadata = replace(metadata, started=metadata.started - sum(row["seconds"] for row in start.rows))

    with track(metadata) as tracker:

        def on_epoch_end(epoch: int, values: dict[str, float]) -> None:
            tracker.log_epoch(epoch, values)
            on_epoch(epoch, values)

        def save_checkpoint(state: TrainingState) -> None:
            try:
                write_checkpoint(checkpoint, origin, state)
            except OSError as error:  # such as a full disk
                print(f"Warning: no checkpoint ({error}). The training continues.", file=sys.stderr)

        try:
            history = fit(
                model,
                optimizer,
                training,
                validation,
                config,
                start=start,
                on_checkpoint=save_checkpoint,
                on_epoch=on_epoch_end,
                verbose=verbose,
            )
        except InputError:
            checkpoint.unlink(missing_ok=True)  # resuming would fail again
            raise
        with atomic_write(files.configuration) as path:
            path.write_text(metadata.input.configuration)
        with atomic_write(files.history) as path:
            history.drop(columns="seconds").to_csv(path)
        with atomic_write(files.model) as path:
            model.save(path)
        replace(metadata, epoch_seconds=history["seconds"].tolist()).write(files)
    checkpoint.unlink(missing_ok=True)  # after tracking: until then, a killed process loses no training
    paths.training_lock(config.run).unlink(missing_ok=True)
    lock.release()
