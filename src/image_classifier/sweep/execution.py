"""The execution of a plan: its trials run on Ray, and MLflow holds them below one run."""

import shutil
import sys
from contextlib import suppress
from typing import Any, Self

from filelock import FileLock
from matplotlib.figure import Figure
from ray import tune

from image_classifier import environment, paths
from image_classifier.config.schema import Sweep
from image_classifier.errors import InputError
from image_classifier.files import acquire_lock
from image_classifier.provenance.result import read_result
from image_classifier.provenance.revision import workspace_revision
from image_classifier.sweep import report
from image_classifier.sweep.engine import TrialSearcher, cluster, run_trials
from image_classifier.sweep.plan import Plan
from image_classifier.sweep.trainable import train_trial
from image_classifier.sweep.trials import Outcome, Results, Trial
from image_classifier.track.store import Store
from image_classifier.track.sweeps import SweepRun, find_outcome, find_sweep, images_per_second
from image_classifier.track.writer import record_result


class SweepExecution:
    """Runs the trials of a plan and records them; as a context manager, ends the MLflow run of the sweep."""

    def __init__(self, plan: Plan, settings: Sweep, store: Store, command: str) -> None:
        """Look for the sweep in the store.

        Args:
            plan: Plan of the sweep.
            settings: Settings of the sweep.
            store: Store of the sweep and its trials.
            command: Command line that starts the sweep.
        """
        self._plan, self._settings, self._store, self._command = plan, settings, store, command
        self._searcher = TrialSearcher(plan, settings, self._find_outcome, self._on_outcome)
        self._sweep_run: SweepRun | None = None
        self._lock: FileLock | None = None
        earlier = find_sweep(store, plan.fingerprint)
        self._run_id = str(earlier.info.run_id) if earlier else None

    def __enter__(self) -> Self:
        """Lock the folder against other sweeps.

        Raises:
            BusyError: Another sweep runs in this folder.
        """
        if not self._settings.dry_run:
            self._lock = acquire_lock(paths.SWEEP_LOCK, "Another sweep runs in this folder. Wait, or use a clone.")
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the lock, because Ray pickles the searcher, which calls this object."""
        return {**self.__dict__, "_lock": None}

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        """End the MLflow run of the sweep, if the trials were started."""
        if self._sweep_run:
            interrupted = kind is not None and issubclass(kind, SystemExit | KeyboardInterrupt)
            self._sweep_run.end("FINISHED" if kind is None else "KILLED" if interrupted else "FAILED")
        if self._lock:
            self._lock.release()

    @property
    def results(self) -> Results:
        """Trials and their outcomes."""
        return self._searcher.results

    def run(self, title: str, params: dict[str, str], num_images: int) -> SweepRun | None:
        """Print the plan and run the trials.

        Args:
            title: First line of the printed plan.
            params: Description of the sweep for MLflow.
            num_images: Number of training images.

        Returns:
            The MLflow run of the sweep, or None if the settings ask for the plan only.

        Raises:
            InputError: The cluster or the store cannot be reached, or a trial cannot be composed.
        """
        with cluster(self._settings, self._store.uri) as slots:
            self._print_plan(title, num_images, slots)
            if self._settings.dry_run:
                return None
            self._sweep_run = SweepRun(self._store, self._plan.fingerprint, self._command, params)
            self._run_id, files = self._sweep_run.run_id, self._plan.files
            revision = workspace_revision(["conf", *files])
            train = tune.with_parameters(train_trial, files=files, revision=revision, parent=self._run_id)
            run_trials(train, self._searcher, self._settings)
        for trial in self._searcher.running.values():
            self._sweep_run.mark_interrupted(trial.input)
        return self._sweep_run

    def finish(self, sweep_run: SweepRun, summary: str, figures: dict[str, Figure], best: Trial | None = None) -> None:
        """Record and print the results. End the command if the sweep was interrupted.

        Args:
            sweep_run: MLflow run from `run`.
            summary: Description of the results in Markdown.
            figures: Figures by name.
            best: Best trial, if the sweep chooses one.

        Raises:
            InputError: Too many trials failed.
        """
        note = f"{summary}\n\nRepeat or resume the sweep:\n\n```\n{self._command}\n```"
        table = report.trials_table(self.results).to_csv(index=False)
        metrics = report.summary_metrics(self.results)
        sweep_run.finish(metrics, note, table, figures, best.input if best else None)
        print(summary)
        failures, max_failures = self._searcher.failures, self._settings.max_failures
        if failures > max_failures:
            raise InputError(f"{failures} trials failed, more than sweep.max_failures={max_failures}.")
        if not self._searcher.finished:
            print("Interrupted. The same command resumes.", file=sys.stderr)
            sys.exit(130)

    def _print_plan(self, title: str, num_images: int, slots: int) -> None:
        remaining = self._searcher.count_remaining()
        processor = environment.describe()["processor"]
        speed = images_per_second(self._store, self._settings.cpus_per_trial, processor)
        seconds = remaining[1] * num_images / speed if speed else None
        print(title, report.format_plan(self._plan, self._settings, remaining, slots, seconds), sep="\n", flush=True)

    def _find_outcome(self, trial: Trial) -> Outcome | None:
        """Return the recorded outcome of a trial, and remove its local files, which are then not needed."""
        files, checkpoint = paths.adhoc_run(trial.name), paths.checkpoint(trial.name)
        outcome = find_outcome(self._store, trial.input, self._run_id)
        if self._settings.dry_run:
            return outcome
        if outcome is None and files.model.exists() and not checkpoint.exists():  # trained while MLflow was down
            with suppress(InputError):  # the files are incomplete: the trial runs again
                record_result(self._store, read_result(trial.name))
            outcome = find_outcome(self._store, trial.input, self._run_id)
            if outcome is None:
                shutil.rmtree(files.directory)
        if outcome:
            shutil.rmtree(files.directory, ignore_errors=True)
            checkpoint.unlink(missing_ok=True)
        return outcome

    def _on_outcome(self, trial: Trial, outcome: Outcome) -> None:
        print(report.format_outcome(trial, outcome), flush=True)
        if self._sweep_run and not outcome.complete:
            self._sweep_run.record_outcome(trial.input, outcome)
        if self._find_outcome(trial) is None and outcome.complete:
            print(f"Warning: {trial.name} is not in MLflow. The same command trains it again.", file=sys.stderr)
