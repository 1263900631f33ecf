"""Sweeps from the command line: `python -m pipelines.train -m …`."""

import shlex
import subprocess
import sys

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from image_classifier import environment, paths
from image_classifier.config.compose import compose, resolve
from image_classifier.config.lookup import check_prepared_data
from image_classifier.config.schema import Train
from image_classifier.dataset import load_for_training
from image_classifier.provenance.fingerprint import TrainingInput, training_files
from image_classifier.sweep import bind_to_localhost
from image_classifier.sweep.plan import COMMAND, SCHEDULER_KEYS, SEARCH_KEYS, Results, Trial, build_plan, validate_space
from image_classifier.sweep.space import Space, parse_space


def run_sweep(composed: DictConfig, overrides: list[Override]) -> None:
    """Run the sweep that a command line describes.

    Args:
        composed: Configuration without the swept keys.
        overrides: Overrides of the command line.

    Raises:
        FileNotFoundError: The prepared data set is missing.
        InputError: A value is invalid, the prepared data set is stale, the tracking store or the cluster cannot be
            reached, or too many trials failed.
    """
    composed.validation = compose("train", ["validation=held_out", "run=sweep"]).validation  # as `parse_space` sets it
    base = resolve(Train, composed)
    settings = base.sweep
    space = parse_space(overrides, settings.cpus_per_trial)
    configs = validate_space(space, settings)
    data = base.data.name
    check_prepared_data(base.data)
    training, validation = load_for_training(paths.prepared_data(data), configs[0].validation.size)
    if not settings.address:
        bind_to_localhost()
    with environment.gc_paused():
        from image_classifier.sweep import report
        from image_classifier.sweep.execution import Description, Summary, execute_plan
        from image_classifier.track.store import Store
        from image_classifier.track.sweeps import SweepRun

    plan = build_plan(space, settings, configs, training_files(data))
    command = shlex.join([*COMMAND, *sys.argv[1:]])
    swept = {key: dimension.text for key, dimension in space.dimensions.items()}
    keys = ", ".join(f"{key}={text}" for key, text in swept.items()) or "a single point"
    title = f"Sweep {plan.fingerprint}: {plan.num_trials} trials, {settings.search} over {keys}."
    params = {name: str(value) for name, value in settings.model_dump(include=SEARCH_KEYS | SCHEDULER_KEYS).items()}
    params |= {"overrides": shlex.join(space.fixed)}
    params |= {f"space.{key.lstrip('+')}": text for key, text in swept.items()}

    def summarize(results: Results) -> Summary:
        best = next((trial for trial, _ in report.complete_trials(results)), None)
        text = report.format_summary(results, plan.fingerprint, len(validation))
        problem = "" if best else "No trial is complete. The table shows the reasons."
        return Summary(text, report.plot_trials(results), best, problem)

    store = Store(data)
    description = Description(f"sweep_{plan.fingerprint}", command, title, params)
    summary = execute_plan(plan, settings, store, description, len(training), summarize)
    if summary and summary.best and settings.retrain_best:
        final = _train_final(space, summary.best)
        metrics = SweepRun(store, plan.fingerprint).attach_final_run(final)
        print(f"Test accuracy {metrics['test_accuracy']:.2%}, loss {metrics['test_loss']:.4f} ({final.run})")


def _train_final(space: Space, best: Trial) -> TrainingInput:
    """Train the best trial on all training images, and measure the test images once."""
    from image_classifier.provenance.result import read_result

    name = best.name.replace("trial", "final", 1)
    own = ("validation", "training.intra_op_threads")  # keys of the sweep
    overrides = [text for text in space.overrides(best.point) if not text.lstrip("+~").startswith(own)]
    command = [*COMMAND[1:], *overrides, "validation=final_test", f"run={name}"]
    if not paths.is_trained(name):
        print(f"Training the best trial on all training images: {shlex.join(['python', *command])}", flush=True)
        completed = subprocess.run([sys.executable, *command], cwd=paths.ROOT, check=False)
        if completed.returncode:
            sys.exit(completed.returncode)
    return read_result(name).input
