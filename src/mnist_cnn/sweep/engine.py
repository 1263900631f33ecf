"""Trials on Ray Tune: each in a process of its own, ended early when others are better, on one machine or many."""

import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ray
from ray import tune
from ray._private.services import canonicalize_bootstrap_address_or_die
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from mnist_cnn.errors import InputError
from mnist_cnn.schema import Sweep
from mnist_cnn.sweep.plan import Plan
from mnist_cnn.sweep.proposals import Proposals
from mnist_cnn.sweep.trials import Outcome, Trial

logging.getLogger("ray").setLevel(logging.ERROR)  # else it tells of its token whenever it starts

EPOCH, ACCURACY, FAILED, DIED, NODE = "epoch", "val_accuracy", "failed", "died", "node"
PROCESS_DEATHS = 2  # of a trial, that are not its own fault: another node takes over
SECONDS_BETWEEN_REPORTS = 15
SECONDS_TO_CONNECT = 5


@contextmanager
def cluster(settings: Sweep, root: Path, environment: dict[str, str]) -> Iterator[int]:
    """Start Ray on this machine, or connect to a cluster, and yield how many trials it can run at once.

    Args:
        settings: of the sweep; without an address Ray starts here (see `stay_on_this_machine`).
        root: the project, which a cluster's nodes get a copy of; files that git ignores are left out.
        environment: variables of the trials.

    Raises:
        InputError: no cluster is at the address, it has too few CPUs, or its nodes cannot reach the tracking store.
    """
    address = settings.address
    working_directory = {"working_dir": str(root), "excludes": [".git"]} if address else {}
    try:
        if address:
            _knock(address)
        ray.init(
            address=address or "local",
            runtime_env={"env_vars": environment, **working_directory},
            log_to_driver=False,
            logging_level="ERROR",
            configure_logging=False,
            **({} if address else {"include_dashboard": False}),
        )
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"sweep.address={address}: no Ray cluster answers ({reason}). Start one: ray start") from error
    try:
        nodes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
        if settings.cpus_per_trial > max(nodes):
            raise InputError(
                f"sweep.cpus_per_trial={settings.cpus_per_trial}: no machine has more than {max(nodes)} CPUs."
            )
        store = environment["MLFLOW_TRACKING_URI"]
        if len(nodes) > 1 and not store.startswith("http"):
            raise InputError(
                "Other nodes cannot write to this machine's MLflow. Let MLFLOW_TRACKING_URI name a server."
            )
        yield sum(cpus // settings.cpus_per_trial for cpus in nodes)
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Find out in seconds whether somebody listens at an address; Ray itself tries for two minutes."""
    host, _, port = canonicalize_bootstrap_address_or_die(address).rpartition(":")
    with socket.create_connection((host, int(port)), timeout=SECONDS_TO_CONNECT):
        pass


@dataclass(eq=False)
class _Recorded:
    """What a stopping rule looks at, of a trial that is not run."""

    trial_id: str


class Trials(Searcher):  # type: ignore[misc]  # Ray has no types
    """Gives Ray Tune one trial after the other, and learns what came of them.

    A trial that is recorded already is not given to Ray: its outcome counts at once.
    """

    def __init__(
        self,
        proposals: Proposals,
        compose: Callable[[int, dict[str, str]], Trial],
        recorded: Callable[[Trial], Outcome | None],
        concluded: Callable[[Trial, Outcome], None],
        scheduler: TrialScheduler,
        shared: dict[str, Any],
    ) -> None:
        """Start with no trial.

        Args:
            proposals: of points.
            compose: makes a trial of a number and a point.
            recorded: finds the outcome of a trial that has been run before.
            concluded: is told the outcome of each trial that was run.
            scheduler: that learns from recorded trials, too.
            shared: what the process of every trial gets beside its name, configuration and command line.
        """
        super().__init__()
        self._proposals, self._compose, self._recorded = proposals, compose, recorded
        self._concluded, self._shared, self.scheduler = concluded, shared, scheduler
        self._learned = 0
        self.running: dict[str, Trial] = {}
        self.accuracies: dict[str, dict[int, float]] = {}
        self.trials: list[Trial] = []
        self.outcomes: dict[int, Outcome] = {}
        self.started: set[str] = set()
        self.exhausted = False
        self._waiting: Trial | None = None
        self.error: InputError | None = None

    @property
    def failures(self) -> int:
        """How many trials failed now; those of an earlier attempt are not counted again."""
        return sum(outcome.failed and outcome.origin == "now" for outcome in self.outcomes.values())

    @property
    def finished(self) -> bool:
        """Whether every trial has an outcome."""
        return self.exhausted and len(self.outcomes) == len(self.trials)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next trial that has to be run, None while that depends on trials that run, FINISHED at the end."""
        while not self.error:
            try:
                trial = self._waiting or self._propose()
                if trial is None:
                    if self.exhausted:
                        break
                    return None
                self._waiting = trial if trial.name in {other.name for other in self.running.values()} else None
                if self._waiting:  # it was proposed twice: the second one takes the outcome of the first
                    return None
                outcome = self._recorded(trial)
            except InputError as error:  # Ray would print it among its own
                self.error = error
                break
            self.trials.append(trial)
            if outcome is None:
                self.running[trial_id] = trial
                own = {"name": trial.name, "config": trial.config.model_dump(), "command": trial.input.command}
                return {**self._shared, **own}
            self._replay(trial, outcome)
        return str(Searcher.FINISHED)

    def _propose(self) -> Trial | None:
        """Compose the next trial; none at the end, or while a batch is not complete."""
        batch = self._proposals.batch
        if batch and len(self.trials) % batch == 0:
            if len(self.outcomes) < len(self.trials):
                return None
            self._learn()
        point = self._proposals.propose()
        self.exhausted = point is None
        return None if point is None else self._compose(len(self.trials), point)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Take note of an epoch."""
        if EPOCH in result and not {FAILED, DIED} & result.keys():
            self.accuracies.setdefault(trial_id, {})[result[EPOCH]] = result[ACCURACY]

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Take note of an end; Ray does not tell those of an interrupted sweep."""
        trial = self.running.pop(trial_id, None)
        if trial is None or (result is None and not error):
            return
        self.on_trial_result(trial_id, result or {})  # the one that ended it has not been told before
        accuracies = self.accuracies.pop(trial_id, {})
        if error:
            outcome = Outcome("died", accuracies, "its process died again and again: out of memory?")
        elif DIED in (result or {}):
            outcome = Outcome("died", accuracies, str((result or {})[DIED]))
        elif FAILED in (result or {}):
            outcome = Outcome("failed", accuracies, str((result or {})[FAILED]))
        elif trial.config.epochs in accuracies:
            outcome = Outcome("complete", accuracies)
        else:
            reason = f"others were better after epoch {max(accuracies)} of {trial.config.epochs}"
            outcome = Outcome("pruned", accuracies, reason)
        outcome = replace(outcome, node=str((result or {}).get(NODE, "")))
        self.outcomes[trial.number] = outcome
        try:
            self._concluded(trial, outcome)
        except InputError as error:
            self.error = error

    def _learn(self) -> None:
        for number in range(self._learned, len(self.trials)):
            self._proposals.learn(number, self.outcomes[number])
        self._learned = len(self.trials)

    def _replay(self, trial: Trial, outcome: Outcome) -> None:
        stand_in: Any = _Recorded(trial.name)
        self.scheduler.on_trial_add(None, stand_in)
        for epoch, accuracy in outcome.accuracies.items():
            decision = self.scheduler.on_trial_result(None, stand_in, {EPOCH: epoch, ACCURACY: accuracy})
            if decision == TrialScheduler.STOP:
                break  # a rule expects no more of what it has stopped
        self.outcomes[trial.number] = outcome

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the record is in MLflow."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as in `save`."""


def left(
    planned: Plan, compose: Callable[[int, dict[str, str]], Trial], recorded: Callable[[Trial], Outcome | None]
) -> tuple[int, int]:
    """Count the trials of a plan that are not recorded, and their epochs; at most, if its points depend on outcomes.

    Args:
        planned: the sweep.
        compose: as in `Trials`.
        recorded: as in `Trials`.

    Raises:
        InputError: a trial cannot be composed, or the store not be reached.
    """
    if planned.known is not None:
        unknown = [trial for trial in planned.known if not recorded(trial)]
        return len(unknown), sum(trial.config.epochs for trial in unknown)
    rehearsal = Trials(planned.proposals(), compose, recorded, lambda _trial, _outcome: None, FIFOScheduler(), {})
    rehearsal.suggest("the first that is not recorded")
    if rehearsal.error:
        raise rehearsal.error
    count = planned.count - len(rehearsal.outcomes)
    return count, count * planned.longest


class _End(Stopper):  # type: ignore[misc]  # Ray has no types
    """Ends a sweep in which too much went wrong."""

    def __init__(self, trials: Trials, max_failures: int) -> None:
        self._trials, self._max_failures = trials, max_failures

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002
        return False

    def stop_all(self) -> bool:
        return self._trials.error is not None or self._trials.failures > self._max_failures


def scheduler(settings: Sweep, epochs: int) -> TrialScheduler:
    """Build the rule by which trials end early.

    Args:
        settings: of the sweep.
        epochs: of its longest trial.
    """
    watched: dict[str, Any] = {"time_attr": EPOCH, "metric": ACCURACY, "mode": "max"}
    grace = min(settings.grace_epochs, epochs)
    match settings.stopping:
        case "asha":
            return ASHAScheduler(
                **watched, max_t=epochs, grace_period=grace, reduction_factor=settings.reduction_factor
            )
        case "median":  # without time slices: it would restart waiting trials from nothing
            return MedianStoppingRule(**watched, grace_period=grace, min_time_slice=float("inf"))
        case _:
            return FIFOScheduler()


class _Progress(tune.Callback):  # type: ignore[misc]  # Ray has no types
    """Reports now and then."""

    def __init__(self, trials: Trials, report: Callable[[], None]) -> None:
        self._trials, self._report, self._last = trials, report, time.monotonic()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        self._trials.started.add(_name(trial))

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:  # noqa: ARG002
        if time.monotonic() - self._last >= SECONDS_BETWEEN_REPORTS:
            self._last = time.monotonic()
            self._report()


def run(train: Callable[[dict[str, Any]], None], trials: Trials, settings: Sweep, report: Callable[[], None]) -> None:
    """Run all trials; returns also when the user or too many failures end it before.

    Args:
        train: what a trial does, in a process of its own: it gets what `Trials` makes of it, and calls
            `ray.tune.report` after each epoch.
        trials: to run.
        settings: of the sweep.
        report: called every few seconds.

    Raises:
        InputError: a trial could not be composed, or its outcome not be recorded.
    """
    with TemporaryDirectory(prefix="sweep_") as folder:
        tuner = tune.Tuner(
            tune.with_resources(train, {"cpu": settings.cpus_per_trial}),
            tune_config=tune.TuneConfig(
                search_alg=trials,
                scheduler=trials.scheduler,
                num_samples=-1,  # until there are no more
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=folder,
                stop=_End(trials, settings.max_failures),
                failure_config=tune.FailureConfig(max_failures=PROCESS_DEATHS),
                callbacks=[_Progress(trials, report)],
                verbose=0,
            ),
        )
        tuner.fit()
    if trials.error:
        raise trials.error


def _name(trial: Any) -> str:
    return str(trial.config["name"])
