"""The execution of a plan: its trials run on Ray, and MLflow holds them below one run."""

import shutil
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple

from matplotlib.figure import Figure
from ray import tune

from image_classifier import environment, paths
from image_classifier.config.schema import Sweep
from image_classifier.errors import InputError
from image_classifier.files import acquire_lock
from image_classifier.provenance.result import read_result
from image_classifier.provenance.revision import workspace_revision
from image_classifier.sweep import report
from image_classifier.sweep.engine import TrialSearcher, cluster, make_scheduler, run_trials
from image_classifier.sweep.plan import Plan, Results, Trial
from image_classifier.sweep.trainable import train_trial
from image_classifier.track.outcome import Outcome
from image_classifier.track.payload import file_params
from image_classifier.track.store import Store
from image_classifier.track.sweeps import SweepRun, median_images_per_second
from image_classifier.track.writer import record_result


class Summary(NamedTuple):
    """Summary of a sweep: Markdown text, figures by name, best trial, and why the command fails in the end or ""."""

    text: str
    figures: dict[str, Figure]
    best: Trial | None
    problem: str


class Description(NamedTuple):
    """Description of a sweep.

    Attributes:
        name: Name in MLflow.
        command: Command line that starts the sweep.
        title: First line of the printed plan.
        params: Parameters in MLflow.
    """

    name: str
    command: str
    title: str
    params: dict[str, str]


def execute_plan(
    plan: Plan,
    settings: Sweep,
    store: Store,
    description: Description,
    num_images: int,
    summarize: Callable[[Results], Summary],
) -> Summary | None:
    """Print a plan, run its trials, and record and print their results.

    Args:
        plan: Plan of the sweep.
        settings: Settings of the sweep.
        store: Store of the sweep and its trials.
        description: Description of the sweep.
        num_images: Number of training images.
        summarize: Summarizes the trials and their outcomes.

    Returns:
        The summary, or None if the settings ask for the plan only.

    Raises:
        BusyError: Another sweep runs in this folder.
        InputError: The cluster or the store cannot be reached, a trial cannot be composed, too many trials failed, or
            the summary has a problem.
        SystemExit: The sweep was interrupted.
    """
    with ExitStack() as cleanup:
        if not settings.dry_run:
            lock = acquire_lock(paths.SWEEP_LOCK, "Another sweep runs in this folder. Wait, or use a clone.")
            cleanup.callback(lock.release)
        sweep_run = SweepRun(store, plan.fingerprint)
        recorder = TrialRecorder(store, sweep_run, settings.dry_run)
        searcher = TrialSearcher(plan, settings.max_failures, recorder.recover_outcome, recorder.record_outcome)
        with cluster(settings, store.uri) as slots:
            speed = median_images_per_second(store, settings.cpus_per_trial, environment.describe()["processor"])
            epoch_seconds = num_images / speed if speed else None
            text = report.format_plan(plan, settings, searcher.count_remaining(), slots, epoch_seconds)
            print(description.title, text, sep="\n", flush=True)
            if settings.dry_run:
                return None
            params = description.params | file_params(plan.files)
            cleanup.enter_context(sweep_run.tracked(description.name, description.command, params))
            revision = workspace_revision(["conf", *plan.files])
            train = tune.with_parameters(train_trial, files=plan.files, revision=revision, parent=sweep_run.run_id)
            run_trials(train, searcher, make_scheduler(settings, plan.max_epochs), settings.cpus_per_trial)
        for trial in searcher.running.values():
            sweep_run.record_outcome(trial.input, Outcome("unfinished", reason="interrupted"))
        results = searcher.results
        summary = summarize(results)
        sweep_run.finish(
            report.summary_metrics(results),
            f"{summary.text}\n\nRepeat or resume the sweep:\n\n```\n{description.command}\n```",
            report.trials_table(results).to_csv(index=False),
            summary.figures,
            summary.best.input if summary.best else None,
        )
        print(summary.text)
        print(f"MLflow run {sweep_run.run_id} ({description.name}) holds the trials and plots: image-classifier ui")
        if searcher.failures > settings.max_failures:
            raise InputError(
                f"{searcher.failures} trials failed, more than sweep.max_failures={settings.max_failures}."
            )
        if not searcher.finished:
            print("Interrupted. The same command resumes.", file=sys.stderr)
            sys.exit(130)
        if lost := [trial.name for trial, end in results if recorder.is_lost(trial, end)]:
            raise InputError(f"MLflow lacks complete trials: {', '.join(lost)}. The same command trains them again.")
        if summary.problem:
            raise InputError(summary.problem)
        return summary


@dataclass(frozen=True)
class TrialRecorder:
    """Recovers and records the outcomes of the trials of a sweep.

    Attributes:
        store: Store of the trials.
        sweep_run: MLflow run of the sweep.
        dry_run: Whether outcomes are only looked up.
    """

    store: Store
    sweep_run: SweepRun
    dry_run: bool

    def recover_outcome(self, trial: Trial) -> Outcome | None:
        """Return the outcome of a trial, or None if it has to be run; except in a dry run, clear up its files.

        A complete result that MLflow lacks, because it was down when the trial ended, is recorded from the files. Then
        the files are removed. Only a trial without a complete result keeps its checkpoint, from which it resumes.
        """
        outcome = self.sweep_run.find_outcome(trial.input)
        if self.dry_run:
            return outcome
        is_trained = paths.is_trained(trial.name)
        if outcome is None and is_trained:
            try:
                result = read_result(trial.name)
            except InputError:
                pass  # the files are incomplete: the trial runs again
            else:
                record_result(self.store, result)
            outcome = self.sweep_run.find_outcome(trial.input)
        if outcome or is_trained:
            shutil.rmtree(paths.adhoc_run(trial.name).directory, ignore_errors=True)
            paths.checkpoint(trial.name).unlink(missing_ok=True)
        return outcome

    def record_outcome(self, trial: Trial, outcome: Outcome) -> None:
        """Print and record the outcome of a trial."""
        print(report.format_outcome(trial, outcome), flush=True)
        if outcome.state != "complete":
            self.sweep_run.record_outcome(trial.input, outcome)
        recovered = self.recover_outcome(trial)  # removes its files, too
        if outcome.state == "complete" and recovered is None:
            print(f"Warning: {trial.name} is not in MLflow. The same command trains it again.", file=sys.stderr)

    def is_lost(self, trial: Trial, outcome: Outcome) -> bool:
        """Return whether a trial was completed now and is not recorded."""
        is_new = (outcome.state, outcome.origin) == ("complete", "now")
        return is_new and self.sweep_run.find_outcome(trial.input) is None
