"""Train one run."""

import math
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace

from mnist_cnn import checkpoint, configuration, dataset, environment, paths, schema
from mnist_cnn.checkpoint import Progress
from mnist_cnn.errors import InputError
from mnist_cnn.paths import RunFiles
from mnist_cnn.results import Revision
from pipelines.command import command, heavy_imports, hold
from pipelines.follow import Follower


@command("train", schema.Train)
def main(config: schema.Train) -> None:
    documented = configuration.documented(config, configuration.load_table(paths.PARAMS), paths.CONF)
    files = paths.documented_run(config.run) if documented else paths.new_adhoc_run(config.run)
    train_run(
        config,
        shlex.join(["python", "-m", "pipelines.train", *sys.argv[1:]]),
        files,
        by_hand=not documented,
        verbose=1 if sys.stdout.isatty() else 2,
    )
    print(f"Wrote {files.directory.relative_to(paths.ROOT)}/")


def train_run(
    config: schema.Train,
    typed: str,
    files: RunFiles,
    *,
    by_hand: bool,
    verbose: int,
    revision: Revision | None = None,
    parent: str | None = None,
    on_epoch: Callable[[int, dict[str, float]], None] = lambda _epoch, _values: None,
) -> None:
    """Train a run in this process, which has trained none before; MLflow follows it.

    Args:
        config: of the run.
        typed: the command line that starts it.
        files: that are written.
        by_hand: no later stage records it.
        verbose: as `training.train` has it.
        revision: of the code, if this is a copy of another workspace.
        parent: the MLflow run of the sweep that it is a trial of.
        on_epoch: as `training.train` has it.

    Raises:
        InputError, FileNotFoundError: as the functions of the library that are called.
    """
    busy = f"run={config.run} is being trained by another process. Wait for it, or choose another run=…"
    lock = hold(paths.training_lock(config.run), busy)
    if config.training.precision == "mixed_bfloat16" and not environment.has_bfloat16():
        print("Warning: this processor emulates bfloat16: slower than training.precision=float32.", file=sys.stderr)
    train_examples, validation_examples = dataset.load_for_training(paths.PREPARED_DATA, config.validation.held_out)

    with heavy_imports():
        from mnist_cnn import model, results, training

    training.make_reproducible(config.training.seed, config.training.threads)
    network = model.build(**config.model.model_dump(), precision=config.training.precision)
    steps = config.epochs * math.ceil(len(train_examples.labels) / config.batch_size)
    optimizer = training.build_optimizer(**config.optimizer.model_dump(), steps=steps)
    complete = training.complete_configuration(config.decisive(), optimizer)
    for name in complete["library_defaults"]:
        print(f"Warning: {name} is Keras' default, which another version may change. Write it down in conf/optimizer/.")

    training_files = results.training_files()
    execution = results.begin(
        results.training_input(config.run, typed, complete, training_files),
        len(train_examples.labels),
        revision or results.workspace_revision(["conf", *training_files]),
        parent,
    )
    origin = {"configuration": execution.input.configuration, **training_files, **execution.environment}
    kept = paths.checkpoint(config.run)
    try:
        start = checkpoint.read(kept, origin)
    except InputError as error:
        print(f"Warning: {error}. Training starts over.", file=sys.stderr)
        start = Progress()
    if start.variables:
        print(f"Going on after {len(start.rows)} epochs and {start.steps} steps.", flush=True)
        execution = replace(execution, started=execution.started - sum(row["seconds"] for row in start.rows))

    with Follower(execution, config.tracking.experiment, by_hand) as follower:

        def hand_on(epoch: int, values: dict[str, float]) -> None:
            follower.epoch(epoch, values)
            on_epoch(epoch, values)

        def keep(progress: Progress) -> None:
            try:
                checkpoint.write(kept, origin, progress)
            except OSError as error:  # such as a full disk
                print(f"Warning: no checkpoint ({error}). The training goes on.", file=sys.stderr)

        try:
            history = training.train(
                network,
                optimizer,
                config.training.loss,
                train_examples,
                validation_examples,
                seed=config.training.seed,
                batch_size=config.batch_size,
                epochs=config.epochs,
                random_shift=config.training.random_shift,
                label_smoothing=config.training.label_smoothing,
                steps_per_execution=config.training.steps_per_execution,
                validation_batch_size=config.training.validation_batch_size,
                validate_every_epoch=config.validation.every_epoch,
                start=start,
                checkpoint_steps=config.training.checkpoint_steps,
                on_checkpoint=keep,
                on_epoch=hand_on,
                verbose=verbose,
            )
        except InputError:
            kept.unlink(missing_ok=True)  # it would fail again
            raise
        with paths.replacing(files.configuration) as path:
            path.write_text(execution.input.configuration)
        with paths.replacing(files.history) as path:
            history.drop(columns="seconds").to_csv(path)
        with paths.replacing(files.model) as path:
            network.save(path)
        replace(execution, epoch_seconds=history["seconds"].tolist()).write(files.model)
    kept.unlink(missing_ok=True)  # after the follower: a kill until then costs no training
    paths.training_lock(config.run).unlink(missing_ok=True)
    lock.release()


if __name__ == "__main__":
    main()
