"""The hand-over of trials to Ray Tune, mostly without Ray: `suggest` and `on_trial_…` are called as Ray does."""

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import ray

from image_classifier import paths
from image_classifier.config.schema import Train
from image_classifier.errors import InputError
from image_classifier.provenance.fingerprint import TrainingInput
from image_classifier.sweep import engine
from image_classifier.sweep.engine import (
    ACCURACY,
    EPOCH,
    NODE,
    REASON,
    STATE,
    TrialSearcher,
    cluster,
    make_scheduler,
    run_trials,
)
from image_classifier.sweep.plan import Plan, Trial
from image_classifier.track.outcome import Outcome

FINISHED = "FINISHED"
COMPLETE = {EPOCH: 3, ACCURACY: 0.9, NODE: "node", STATE: "complete", REASON: ""}


@dataclass(eq=False)
class RayTrial:
    """Stands for one of Ray's trials in a scheduler."""

    trial_id: str


class SweepOfThreeEpochs:
    """A searcher, the outcomes that the choice of points was told, and the outcomes that the searcher handed over."""

    def __init__(
        self,
        config: Train,
        names: Sequence[str],
        batch: int = 100,
        recorded: dict[str, Outcome] | None = None,
        on_outcome: Callable[[Trial, Outcome], None] | None = None,
    ) -> None:
        trials = [make_trial(config, number, name) for number, name in enumerate(names)]
        self.recorded = dict(recorded or {})
        self.told: list[list[str]] = []
        self.outcomes: dict[str, Outcome] = {}
        self.searcher = TrialSearcher(
            Plan("0123456789", {}, partial(self.batches, trials, batch), len(names), max_epochs=3),
            config.sweep.max_failures,
            lambda trial: self.recorded.get(trial.name),
            on_outcome or (lambda trial, outcome: self.outcomes.update({trial.name: outcome})),
        )

    def batches(self, trials: list[Trial], size: int, outcomes: Mapping[str, Outcome]) -> Iterator[list[Trial]]:
        for start in range(0, len(trials), size):
            batch = trials[start : start + size]
            yield batch
            self.told.append([outcomes[trial.name].state for trial in batch])

    def suggest(self, trial_id: str) -> Any:
        suggestion = self.searcher.suggest(trial_id)
        return suggestion["name"] if isinstance(suggestion, dict) else suggestion


def make_trial(config: Train, number: int, name: str) -> Trial:
    return Trial(number, {}, config.model_copy(update={"run": name}), TrainingInput(name, "command", "", {}))


def test_the_process_of_a_trial_receives_its_configuration_and_command(trial_config: Train) -> None:
    job = SweepOfThreeEpochs(trial_config, "a").searcher.suggest("1")
    assert job == {"name": "a", "config": {**trial_config.model_dump(), "run": "a"}, "command": "command"}


def test_a_sweep_is_finished_when_all_trials_have_ended(trial_config: Train) -> None:
    sweep = SweepOfThreeEpochs(trial_config, "ab")
    assert [sweep.suggest(key) for key in "123"] == ["a", "b", None]
    sweep.searcher.on_trial_complete("1", COMPLETE)
    assert not sweep.searcher.finished
    sweep.searcher.on_trial_complete("2", COMPLETE)
    assert sweep.suggest("3") == FINISHED
    assert sweep.searcher.finished


def test_a_batch_waits_for_all_outcomes_of_the_one_before(trial_config: Train) -> None:
    sweep = SweepOfThreeEpochs(trial_config, "abcd", batch=2)
    assert [sweep.suggest(key) for key in "123"] == ["a", "b", None]
    sweep.searcher.on_trial_complete("2", error=True)
    assert sweep.suggest("3") is None
    sweep.searcher.on_trial_complete("1", COMPLETE)
    assert sweep.suggest("3") == "c"
    assert sweep.told == [["complete", "crashed"]]


def test_a_recorded_trial_counts_without_being_run(trial_config: Train) -> None:
    known = Outcome("complete", {1: 0.8, 2: 0.9, 3: 0.95}, origin="elsewhere")
    sweep = SweepOfThreeEpochs(trial_config, "ab", batch=1, recorded={"a": known})
    assert sweep.suggest("1") == "b"
    assert [outcome for _, outcome in sweep.searcher.results] == [known, Outcome("unfinished")]
    assert sweep.told == [["complete"]]
    assert sweep.outcomes == {}


def test_a_point_that_is_proposed_twice_is_trained_once(trial_config: Train) -> None:
    sweep = SweepOfThreeEpochs(trial_config, ["a", "a", "a"], batch=2)
    assert [sweep.suggest(key) for key in "12"] == ["a", None]
    sweep.searcher.on_trial_complete("1", COMPLETE)
    assert sweep.suggest("2") == FINISHED
    assert [outcome.state == "complete" for _, outcome in sweep.searcher.results] == [True, True, True]


@pytest.mark.parametrize(("batch", "remaining"), [(100, (3, 9)), (2, (4, 12))])
def test_recorded_trials_are_counted_as_far_as_the_points_are_known(
    trial_config: Train, batch: int, remaining: tuple[int, int]
) -> None:
    known = dict.fromkeys("abcf", Outcome("complete", {3: 0.9}))
    assert SweepOfThreeEpochs(trial_config, "abcdefg", batch, known).searcher.count_remaining() == remaining


@pytest.mark.parametrize(
    ("last", "outcome"),
    [
        (COMPLETE, Outcome("complete", {1: 0.5, 3: 0.9}, node="node")),
        ({EPOCH: 2, ACCURACY: 0.6}, Outcome("pruned", {1: 0.5, 2: 0.6}, "stopped by the scheduler")),
        (
            {EPOCH: 3, ACCURACY: float("nan"), STATE: "failed", REASON: "diverged"},
            Outcome("failed", {1: 0.5}, "diverged"),
        ),
        (
            {EPOCH: 3, ACCURACY: float("nan"), STATE: "crashed", REASON: "no space"},
            Outcome("crashed", {1: 0.5}, "no space"),
        ),
    ],
)
def test_the_last_report_of_a_trial_decides_its_outcome(
    trial_config: Train, last: dict[str, Any], outcome: Outcome
) -> None:
    sweep = SweepOfThreeEpochs(trial_config, "a")
    sweep.suggest("1")
    sweep.searcher.on_trial_result("1", {EPOCH: 1, ACCURACY: 0.5})
    sweep.searcher.on_trial_complete("1", last)
    assert sweep.outcomes == {"a": outcome}


def test_the_epochs_of_running_trials_are_printed(trial_config: Train, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = SweepOfThreeEpochs(trial_config, "ab")
    sweep.suggest("1")
    sweep.searcher.on_trial_result("1", {EPOCH: 2, ACCURACY: 0.987})
    assert capsys.readouterr().out == "Trial 0: epoch 2 of 3, 98.70%\n"


def test_a_trial_whose_process_died_counts_as_a_failure(trial_config: Train) -> None:
    sweep = SweepOfThreeEpochs(trial_config, "a")
    sweep.suggest("1")
    sweep.searcher.on_trial_complete("1", error=True)
    assert sweep.outcomes["a"].state == "crashed"
    assert sweep.searcher.failures == 1


def test_no_trial_starts_after_too_many_failures(trial_config: Train) -> None:
    sweep = SweepOfThreeEpochs(trial_config, "abcdef")  # sweep.max_failures=3
    for trial_id in "1234":
        assert sweep.suggest(trial_id) != FINISHED
        sweep.searcher.on_trial_complete(trial_id, error=True)
    assert sweep.suggest("5") == FINISHED
    assert not sweep.searcher.finished


def test_failures_of_an_earlier_attempt_are_not_counted_again(trial_config: Train) -> None:
    sweep = SweepOfThreeEpochs(trial_config, "a", recorded={"a": Outcome("failed", origin="before")})
    assert sweep.suggest("1") == FINISHED
    assert sweep.searcher.failures == 0


def test_a_trial_of_an_interrupted_sweep_has_no_outcome(trial_config: Train) -> None:
    sweep = SweepOfThreeEpochs(trial_config, "a")
    sweep.suggest("1")
    assert [trial.name for trial in sweep.searcher.running.values()] == ["a"]
    assert not sweep.searcher.finished


def test_an_outcome_that_cannot_be_recorded_ends_the_sweep(trial_config: Train) -> None:
    def refuse(_trial: Trial, _outcome: Outcome) -> None:
        raise InputError("MLflow does not answer")

    sweep = SweepOfThreeEpochs(trial_config, "ab", on_outcome=refuse)
    sweep.suggest("1")
    sweep.searcher.on_trial_complete("1", COMPLETE)
    assert sweep.suggest("2") == FINISHED
    assert str(sweep.searcher.error) == "MLflow does not answer"


@pytest.mark.parametrize("name", ["none", "asha", "median"])
def test_every_scheduler_lets_the_best_trial_finish(trial_config: Train, name: str) -> None:
    scheduler = make_scheduler(trial_config.sweep.model_copy(update={"scheduler": name}), max_epochs=3)
    decisions = []
    for accuracy in (0.1, 0.2, 0.3, 0.9):
        trial = RayTrial(str(accuracy))
        scheduler.on_trial_add(None, trial)
        decisions.append([scheduler.on_trial_result(None, trial, {EPOCH: e, ACCURACY: accuracy}) for e in (1, 2)])
    assert decisions[-1] == ["CONTINUE", "CONTINUE"]


@pytest.mark.parametrize("name", ["asha", "median"])
def test_a_scheduler_stops_a_trial_that_is_worse_than_the_others(trial_config: Train, name: str) -> None:
    scheduler = make_scheduler(trial_config.sweep.model_copy(update={"scheduler": name}), max_epochs=3)
    decisions = []
    for accuracy in (0.9, 0.8, 0.85, 0.1):
        trial = RayTrial(str(accuracy))
        scheduler.on_trial_add(None, trial)
        decisions.append(scheduler.on_trial_result(None, trial, {EPOCH: 1, ACCURACY: accuracy}))
    assert decisions[-1] == "STOP"


@pytest.fixture
def two_nodes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Replaces Ray by a cluster of two nodes; holds the arguments of `ray.init`."""
    options: dict[str, Any] = {}
    monkeypatch.setattr(ray, "init", options.update)
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": cpus}} for cpus in (2.0, 5.0)])
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    return options


@pytest.mark.parametrize(("cpus", "slots"), [(1, 7), (2, 3), (5, 1)])
@pytest.mark.usefixtures("two_nodes")
def test_a_trial_has_all_of_its_cpus_on_one_node(trial_config: Train, cpus: int, slots: int) -> None:
    settings = trial_config.sweep.model_copy(update={"cpus_per_trial": cpus})
    with cluster(settings, "http://127.0.0.1:5000") as found:
        assert found == slots


@pytest.mark.parametrize(
    ("cpus", "uri", "message"),
    [
        (6, "http://127.0.0.1:5000", "sweep.cpus_per_trial=6: no node has more than 5 CPUs."),
        (1, "sqlite:////mlflow.db", "MLFLOW_TRACKING_URI=sqlite:////mlflow.db: other nodes cannot reach it."),
    ],
)
@pytest.mark.usefixtures("two_nodes")
def test_a_cluster_that_cannot_run_a_trial_is_refused(trial_config: Train, cpus: int, uri: str, message: str) -> None:
    settings = trial_config.sweep.model_copy(update={"cpus_per_trial": cpus})
    with pytest.raises(InputError, match=re.escape(message)), cluster(settings, uri):
        pass


def test_trials_import_the_project_and_receive_the_variables_of_mlflow(
    trial_config: Train, two_nodes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    with cluster(trial_config.sweep, "http://127.0.0.1:5000"):
        pass
    assert two_nodes["runtime_env"]["env_vars"].items() >= {
        ("MLFLOW_TRACKING_PASSWORD", "secret"),
        ("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000"),
        ("PYTHONPATH", str(paths.ROOT / "src")),
    }


@pytest.mark.parametrize(("length", "is_used"), [(20, True), (90, False)])
def test_ray_starts_with_a_long_tmpdir(
    trial_config: Train, two_nodes: dict[str, Any], monkeypatch: pytest.MonkeyPatch, length: int, is_used: bool
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", folder := f"/{'a' * length}")
    with cluster(trial_config.sweep, "http://127.0.0.1:5000"):
        pass
    assert two_nodes["_temp_dir"] == f"{folder if is_used else '/tmp'}/ray"


def test_a_ray_that_cannot_start_is_named(trial_config: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_RUNTIME_ENV_HOOK", "no.such")
    with (
        pytest.raises(InputError, match=r"^Ray cannot start \(No module named 'no'\)\. Check the variables RAY_…, "),
        cluster(trial_config.sweep, "http://127.0.0.1:1"),
    ):
        pass


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-host.invalid:6379"])
def test_an_address_without_a_cluster_is_named(trial_config: Train, address: str) -> None:
    settings = trial_config.sweep.model_copy(update={"address": address})
    with (
        pytest.raises(InputError, match=f"^sweep.address={re.escape(address)}: no Ray cluster answers"),
        cluster(settings, "http://127.0.0.1:1"),
    ):
        pass


def train(job: dict[str, Any]) -> None:
    """Stub of a training whose name is its behaviour."""
    from ray import tune

    import image_classifier

    assert image_classifier.__file__ == str(paths.ROOT / "src/image_classifier/__init__.py")
    behaviour, _, accuracy = job["name"].partition("_")
    if behaviour == "die":
        os._exit(1)
    if behaviour == "fail":
        tune.report({EPOCH: 3, ACCURACY: float("nan"), NODE: "", STATE: "failed", REASON: "diverged"})
        return
    for epoch in (1, 2, 3):
        last = {STATE: "complete", REASON: ""} if epoch == 3 else {}
        tune.report({EPOCH: epoch, ACCURACY: float(accuracy), NODE: "node", **last})


@pytest.mark.slow
@pytest.mark.usefixtures("ray_on_this_machine")
def test_ray_runs_every_trial_to_its_outcome(trial_config: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MAX_RESTARTS", 0)
    sweep = SweepOfThreeEpochs(trial_config, ["ok_0.9", "fail", "die", "ok_0.1"])
    run_trials(train, sweep.searcher, make_scheduler(trial_config.sweep, max_epochs=3), cpus_per_trial=1)
    assert sweep.searcher.finished
    assert sweep.outcomes["ok_0.9"] == Outcome("complete", {1: 0.9, 2: 0.9, 3: 0.9}, node="node")
    assert sweep.outcomes["ok_0.1"] == Outcome("pruned", {1: 0.1}, "stopped by the scheduler", node="node")
    assert sweep.outcomes["fail"] == Outcome("failed", reason="diverged")
    assert sweep.outcomes["die"].state == "crashed"
