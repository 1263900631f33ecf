"""Run a sweep: what `pipelines.train -m` does."""

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from filelock import FileLock
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from mnist_cnn import configuration, dataset, environment, paths, results, schema
from mnist_cnn.errors import InputError
from mnist_cnn.sweep import plan, space, stay_on_this_machine
from pipelines.command import heavy_imports, hold

if TYPE_CHECKING:
    from mnist_cnn.sweep.engine import Trials
    from mnist_cnn.sweep.trials import Outcome, Trial
    from mnist_cnn.tracking.store import Store
    from mnist_cnn.tracking.sweeps import SweepRun


def main(composed: DictConfig, overrides: list[Override]) -> None:
    """Run the sweep that a command line describes.

    Args:
        composed: the configuration, without what is swept.
        overrides: of the command line.

    Raises:
        InputError: a value cannot be used, the tracking store or the cluster cannot be reached, too many trials failed.
        FileNotFoundError: there is no data.
    """
    base = configuration.resolve(schema.Train, composed)
    settings, searched = base.sweep, space.parse(overrides)
    checked = plan.check(searched, settings)
    hashes = results.training_files()
    training, validation = dataset.load_for_training(paths.PREPARED_DATA, checked[0].validation.held_out)
    if not settings.address:
        stay_on_this_machine()
    with heavy_imports():
        from mnist_cnn.sweep import report, trials
        from mnist_cnn.tracking.store import Store

    def compose(number: int, point: dict[str, str]) -> "Trial":
        return trials.compose(searched, number, point, settings.cpus_per_trial, hashes)

    store = Store(base.tracking.experiment)
    with cluster(settings, store) as at_once:
        planned = plan.make(searched, settings, checked, hashes, compose)
        opening = report.opening(planned, searched, settings)
        announce(store, planned, compose, settings, opening, at_once, len(training.labels))
        if settings.dry_run:
            return
        lock = only_sweep_here()
        typed = shlex.join(["python", "-m", "pipelines.train", *sys.argv[1:]])
        sweep, tried = run(store, planned, compose, settings, hashes, typed, report.params(searched, settings))

    best = report.best_of(tried.trials, tried.outcomes)
    summary = report.summary(tried.trials, tried.outcomes, planned.identity, len(validation.labels))
    print(summary)
    sweep.finish(
        report.metrics(tried.trials, tried.outcomes),
        f"```\n{summary}\n```\n\nThe same sweep again, or the rest of it:\n\n```\n{typed}\n```",
        report.table(tried.trials, tried.outcomes).to_csv(index=False),
        report.figures(tried.trials, tried.outcomes),
        best.input if best else None,
    )
    check_ended(sweep, tried, settings)
    if best is None:
        sweep.end("FAILED")
        raise InputError("No trial is complete. The table says why.")
    if settings.final:
        _train_finally(searched, best, sweep)
    sweep.end()
    lock.release()


@contextmanager
def cluster(settings: schema.Sweep, store: "Store") -> Iterator[int]:
    """Yield how many trials can run at once, as `engine.cluster` does, which it raises what."""
    from mnist_cnn.sweep import engine

    variables = {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_")}
    with engine.cluster(settings, paths.ROOT, {**variables, "MLFLOW_TRACKING_URI": store.uri}) as at_once:
        yield at_once


def announce(
    store: "Store",
    planned: plan.Plan,
    compose: Callable[[int, dict[str, str]], "Trial"],
    settings: schema.Sweep,
    opening: str,
    at_once: int,
    images: int,
) -> None:
    """Say what is going to be done, what is recorded already, and how long it takes.

    Args:
        store: that may have trials.
        planned: the sweep.
        compose: makes a trial of a number and a point.
        settings: of the sweep.
        opening: the first line.
        at_once: trials that run at the same time.
        images: that one epoch reads.
    """
    from mnist_cnn.sweep import engine, report
    from mnist_cnn.tracking import sweeps

    begun = sweeps.find_sweep(store, planned.identity)
    trials_left, epochs_left = engine.left(
        planned, compose, lambda trial: sweeps.outcome(store, trial.input, begun.info.run_id if begun else None)
    )
    speed = sweeps.images_per_second(store, settings.cpus_per_trial, environment.describe()["processor"])
    seconds = epochs_left * images / speed if speed else None
    print(opening, report.plan(planned, settings, trials_left, epochs_left, at_once, seconds), sep="\n", flush=True)


def run(
    store: "Store",
    planned: plan.Plan,
    compose: Callable[[int, dict[str, str]], "Trial"],
    settings: schema.Sweep,
    hashes: dict[str, str],
    typed: str,
    params: dict[str, str],
) -> tuple["SweepRun", "Trials"]:
    """Run all trials that are not recorded, and record them below one MLflow run.

    Args:
        store: that records them.
        planned: the sweep.
        compose: makes a trial of a number and a point.
        settings: of the sweep.
        hashes: from `results.training_files`.
        typed: the command line.
        params: what describes the sweep.

    Raises:
        InputError: a trial cannot be composed, or not be recorded.
    """
    from mnist_cnn.sweep import engine, report
    from mnist_cnn.tracking import sweeps
    from pipelines import trial as trial_process

    sweep = sweeps.SweepRun(store, planned.identity, typed, params)

    def find(trial: "Trial") -> "Outcome | None":
        found = sweeps.outcome(store, trial.input, sweep.run_id)
        if found:  # then MLflow has all of it
            shutil.rmtree(paths.adhoc_run(trial.name).directory, ignore_errors=True)
            paths.checkpoint(trial.name).unlink(missing_ok=True)
        return found

    def conclude(trial: "Trial", outcome: "Outcome") -> None:
        if not outcome.complete:
            sweep.conclude(trial.input, outcome)
        if not find(trial) and outcome.complete:
            print(f"Warning: {trial.name} is not in MLflow. The same command records it later.", file=sys.stderr)

    tried = engine.Trials(
        planned.proposals(),
        compose,
        recorded=find,
        concluded=conclude,
        scheduler=engine.scheduler(settings, planned.longest),
        shared={
            "files": hashes,
            "revision": asdict(results.workspace_revision(["conf", *hashes])),
            "parent": sweep.run_id,
        },
    )
    began = time.monotonic()
    try:
        engine.run(
            trial_process.main,
            tried,
            settings,
            lambda: print(report.progress(tried, planned, time.monotonic() - began), flush=True),
        )
    except InputError:
        sweep.end("FAILED")
        raise
    for left in tried.running.values():
        sweep.leave(left.input)
    return sweep, tried


def check_ended(sweep: "SweepRun", tried: "Trials", settings: schema.Sweep) -> None:
    """End the command here if the sweep did not come to its end.

    Raises:
        InputError: too many trials failed.
    """
    if tried.failures > settings.max_failures:
        sweep.end("FAILED")
        raise InputError(f"{tried.failures} trials failed, more than sweep.max_failures={settings.max_failures}.")
    if not tried.finished:
        sweep.end("KILLED")
        print("Interrupted. The same command goes on.", file=sys.stderr)
        sys.exit(130)


def only_sweep_here() -> FileLock:
    """Keep two sweeps from training the same trial in the same folder; the lock goes with the process."""
    return hold(paths.SWEEP_LOCK, "Another sweep is running in this folder. Wait for it, or use another clone.")


def _train_finally(searched: space.Space, best: "Trial", sweep: "SweepRun") -> None:
    """Train the winner on all training images, and look at the test images once."""
    name = best.name.replace("trial", "final", 1)
    given = searched.overrides(best.values)
    overrides = [override for override in given if not override.lstrip("+~").startswith("validation.")]
    command = ["-m", "pipelines.train", *overrides, "validation=test_once", f"run={name}"]
    if not paths.adhoc_run(name).model.exists() or paths.checkpoint(name).exists():  # not finished
        print(f"Training the winner on all training images: {shlex.join(['python', *command])}", flush=True)
        trained = subprocess.run([sys.executable, *command], cwd=paths.ROOT, check=False)
        if trained.returncode:
            sweep.end("KILLED")
            sys.exit(trained.returncode)
    try:
        tested = sweep.adopt_final(results.read(name).input)
    except InputError:
        sweep.end("FAILED")
        raise
    print(f"Test accuracy {tested['test_accuracy']:.2%}, loss {tested['test_loss']:.4f} ({name})")
