"""Trials on Ray Tune: each runs in a process of its own, on this machine or on the nodes of a cluster."""

import logging
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

import ray
from ray import tune
from ray._private.services import canonicalize_bootstrap_address_or_die
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler
from ray.tune.search import Searcher
from sqlalchemy import make_url

from image_classifier import paths
from image_classifier.config.schema import Sweep
from image_classifier.errors import InputError
from image_classifier.sweep.plan import Plan, Results, Trial
from image_classifier.track.outcome import Outcome, State

logging.getLogger("ray").setLevel(logging.ERROR)  # otherwise Ray prints a line about its token at each start

# Keys of a report. Only the last report of a trial has STATE and REASON; a pruned trial does not send it.
EPOCH = "epoch"
ACCURACY = "val_accuracy"
NODE = "node"
STATE = "state"
REASON = "reason"
DEFAULT_REASONS = {"pruned": "stopped by the scheduler", "crashed": "its process was killed, for lack of memory?"}
MAX_RESTARTS = 2  # restarts of a trial whose process dies, for example with its node
SECONDS_TO_CONNECT = 5
MAX_TMPDIR = 30  # characters, because the path of a socket has at most 107; Ray's names below it take up to 75


@contextmanager
def cluster(settings: Sweep, tracking_uri: str) -> Iterator[int]:
    """Start Ray on this machine or join a cluster, and yield the number of trials that can run at the same time.

    Nodes of a cluster receive the variables that begin with MLFLOW_, and the project without files that git ignores.

    Args:
        settings: Settings of the sweep. Call `bind_to_localhost` first if they have no address.
        tracking_uri: URI of the tracking store.

    Raises:
        InputError: There is no cluster at the address, no node has enough CPUs, or the nodes cannot reach the store.
    """
    address = settings.address
    variables = {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_")}
    variables["MLFLOW_TRACKING_URI"] = tracking_uri
    variables["PYTHONPATH"] = "src" if address else str(paths.ROOT / "src")  # a node starts processes in its copy
    project = {"working_dir": str(paths.ROOT), "excludes": [".git"]} if address else {}
    try:
        if address:  # connect once, because Ray would try for two minutes
            host, _, port = canonicalize_bootstrap_address_or_die(address).rpartition(":")
            socket.create_connection((host, int(port)), timeout=SECONDS_TO_CONNECT).close()
        ray.init(
            address=address or "local",
            _temp_dir=None if address else _temporary_folder(),
            runtime_env={"env_vars": variables, **project},
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level="ERROR",
            configure_logging=False,
        )
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        if not address:
            raise InputError(f"Ray cannot start ({reason}). Check the variables RAY_…, TMPDIR and /tmp.") from error
        raise InputError(f"sweep.address={address}: no Ray cluster answers ({reason}). Start one: ray start") from error
    try:
        cpus = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
        if settings.cpus_per_trial > max(cpus):
            raise InputError(f"sweep.cpus_per_trial={settings.cpus_per_trial}: no node has more than {max(cpus)} CPUs.")
        if len(cpus) > 1 and not tracking_uri.startswith("http"):
            masked = make_url(tracking_uri).render_as_string()  # without the password
            raise InputError(f"MLFLOW_TRACKING_URI={masked}: other nodes cannot reach it. Name a server.")
        yield sum(count // settings.cpus_per_trial for count in cpus)
    finally:
        ray.shutdown()


def _temporary_folder() -> str:
    """Return Ray's folder in TMPDIR, or in /tmp if TMPDIR cannot be used or leaves no room for the names of sockets."""
    folder = tempfile.gettempdir()
    return f"{folder if len(folder) <= MAX_TMPDIR else '/tmp'}/ray"  # noqa: S108  # Ray's default


class TrialSearcher(Searcher):  # type: ignore[misc]  # Ray has no types
    """Hands the trials of a plan to Ray Tune and collects their outcomes.

    Recorded trials are not run. After an error or too many failures no further trial starts.

    Attributes:
        running: Running trials by Ray's id.
        finished: Whether every trial of the plan has an outcome.
        error: Error that ended the sweep; Ray would hide an exception among its own messages.
    """

    def __init__(
        self,
        plan: Plan,
        max_failures: int,
        find_outcome: Callable[[Trial], Outcome | None],
        on_outcome: Callable[[Trial, Outcome], None],
    ) -> None:
        """Start before the first trial.

        Args:
            plan: Plan of the sweep.
            max_failures: Number of failed trials that are tolerated.
            find_outcome: Returns the recorded outcome of a trial, or None.
            on_outcome: Receives each trial that was run, and its outcome.
        """
        super().__init__()
        self._plan = plan
        self._max_failures = max_failures
        self._find_outcome = find_outcome
        self._on_outcome = on_outcome
        self._outcomes: dict[str, Outcome] = {}  # by name: a point that is proposed twice is one training
        self._batches = plan.batches(self._outcomes)
        self.running: dict[str, Trial] = {}
        self.finished = False
        self.error: InputError | None = None
        self._trials: list[Trial] = []  # trials of all batches so far
        self._queue: list[Trial] = []  # trials of the last batch that have not started
        self._accuracies: dict[str, dict[int, float]] = {}

    @property
    def results(self) -> Results:
        """Trials of all batches so far, with their outcomes."""
        return [(trial, self._outcomes.get(trial.name, Outcome("unfinished"))) for trial in self._trials]

    @property
    def failures(self) -> int:
        """Number of trials that failed now; failures of an earlier attempt are not counted again."""
        return sum(outcome.failed and outcome.origin == "now" for outcome in self._outcomes.values())

    def count_remaining(self) -> tuple[int, int]:
        """Return the numbers of trials and epochs to run: upper bounds if later trials depend on outcomes.

        Raises:
            InputError: A trial cannot be composed, or the tracking store cannot be reached.
        """
        self._advance()
        later = self._plan.num_trials - len(self._trials)
        epochs = sum(trial.config.epochs for trial in self._queue) + later * self._plan.max_epochs
        return len(self._queue) + later, epochs

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next trial to run, None if it depends on running trials, or FINISHED at the end."""
        try:
            self._advance()
        except InputError as error:
            self.error = error
        if self.error or self.finished or self.failures > self._max_failures:
            return str(Searcher.FINISHED)
        if not self._queue:
            return None
        self.running[trial_id] = trial = self._queue.pop(0)
        return {"name": trial.name, "config": trial.config.model_dump(), "command": trial.input.command}

    def _advance(self) -> None:
        """Take the next batch when all trials of the last one have outcomes, until a batch has a trial to run."""
        while not self.finished and all(trial.name in self._outcomes for trial in self._trials):
            batch = next(self._batches, [])
            self._trials += batch
            self.finished = not batch
            new = {trial.name: trial for trial in batch if trial.name not in self._outcomes}
            for name, trial in new.items():
                if outcome := self._find_outcome(trial):
                    self._outcomes[name] = outcome
                else:
                    self._queue.append(trial)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Collect and print the accuracy of an epoch; not called for the epoch after which a trial is stopped."""
        if STATE not in result:
            trial = self.running[trial_id]
            epoch = result[EPOCH]
            accuracy = result[ACCURACY]
            self._accuracies.setdefault(trial_id, {})[epoch] = accuracy
            print(f"Trial {trial.number}: epoch {epoch} of {trial.config.epochs}, {accuracy:.2%}", flush=True)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Collect the outcome of a trial, unless the sweep was interrupted."""
        trial = self.running.pop(trial_id, None)
        if trial is None or (result is None and not error):  # an interrupted trial has neither
            return
        last = result or {}
        accuracies = self._accuracies.pop(trial_id, {})
        state: State = "crashed" if error else last.get(STATE, "pruned")
        if state in ("complete", "pruned"):
            accuracies[last[EPOCH]] = last[ACCURACY]
        reason = last.get(REASON, DEFAULT_REASONS.get(state, ""))
        self._outcomes[trial.name] = outcome = Outcome(state, accuracies, reason, node=last.get(NODE, ""))
        try:
            self._on_outcome(trial, outcome)
        except InputError as failure:
            self.error = failure


def make_scheduler(settings: Sweep, max_epochs: int) -> TrialScheduler:
    """Return the scheduler, which stops trials early.

    Args:
        settings: Settings of the sweep.
        max_epochs: Number of epochs of the longest trial.
    """
    options: dict[str, Any] = {"time_attr": EPOCH, "metric": ACCURACY, "mode": "max"}
    options["grace_period"] = min(settings.grace_period, max_epochs)
    match settings.scheduler:
        case "asha":
            return ASHAScheduler(**options, max_t=max_epochs, reduction_factor=settings.reduction_factor)
        case "median":  # without time slices, which would restart waiting trials from their beginning
            return MedianStoppingRule(**options, min_time_slice=float("inf"))
        case _:
            return FIFOScheduler()


def run_trials(
    train: Callable[[dict[str, Any]], None], searcher: TrialSearcher, scheduler: TrialScheduler, cpus_per_trial: int
) -> None:
    """Run the trials of a sweep until its searcher has no more, or the user interrupts it.

    Args:
        train: Trains one trial in a process of its own. It receives a suggestion of the searcher and calls
            `ray.tune.report` after each epoch.
        searcher: Searcher of the sweep.
        scheduler: Scheduler, which stops trials early.
        cpus_per_trial: Number of CPUs of each trial.

    Raises:
        InputError: A trial cannot be composed, or its outcome cannot be recorded.
    """
    with TemporaryDirectory(prefix="sweep_") as folder:
        tune.run(
            train,
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=-1,  # until the searcher is finished
            resources_per_trial={"cpu": cpus_per_trial},
            max_failures=MAX_RESTARTS,
            raise_on_failed_trial=False,
            storage_path=folder,
            name="sweep",
            trial_dirname_creator=lambda trial: trial.config["name"],
            verbose=0,
        )
    if searcher.error:
        raise searcher.error
