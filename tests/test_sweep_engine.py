from collections.abc import Iterator
from typing import Any

import pytest

from mnist_cnn import paths
from mnist_cnn.configuration import compose, resolve
from mnist_cnn.errors import InputError
from mnist_cnn.results import TrainingInput
from mnist_cnn.schema import Train
from mnist_cnn.sweep.engine import ACCURACY, DIED, EPOCH, FAILED, Trials, left, scheduler
from mnist_cnn.sweep.plan import Plan
from mnist_cnn.sweep.trials import Outcome, Trial

FINISHED = "FINISHED"


class Counted:
    """Proposes 0, 1, 2, …, and keeps what it is told."""

    def __init__(self, count: int, batch: int | None) -> None:
        self.batch, self.told = batch, list[tuple[int, str]]()
        self._numbers: Iterator[int] = iter(range(count))

    def propose(self) -> dict[str, str] | None:
        number = next(self._numbers, None)
        return None if number is None else {"number": str(number)}

    def learn(self, number: int, outcome: Outcome) -> None:
        self.told.append((number, outcome.state))


@pytest.fixture
def config() -> Train:
    return resolve(Train, compose("train", ["epochs=3", "run=trial", "sweep=asha"], paths.CONF))


class Sweep:
    """Trials with three epochs each, and what was concluded of them."""

    def __init__(
        self,
        config: Train,
        count: int,
        batch: int | None = None,
        recorded: dict[int, Outcome] | None = None,
        same_names: bool = False,
    ) -> None:
        self.config, self.same_names, self.recorded = config, same_names, dict(recorded or {})
        self.proposals = Counted(count, batch)
        self.concluded: dict[int, Outcome] = {}
        self.rule = scheduler(config.sweep, epochs=3)
        self.trials = Trials(
            self.proposals,
            compose=self.compose,
            recorded=lambda trial: self.recorded.get(trial.number),
            concluded=lambda trial, outcome: self.concluded.update({trial.number: outcome}),
            scheduler=self.rule,
            shared={"parent": "sweep"},
        )

    def compose(self, number: int, point: dict[str, str]) -> Trial:
        name = "trial" if self.same_names else f"trial_{number}"
        return Trial(number, point, self.config.model_copy(update={"run": name}), TrainingInput("", "", "", {}))

    def suggest(self, trial_id: str) -> Any:
        suggestion = self.trials.suggest(trial_id)
        return suggestion["name"] if isinstance(suggestion, dict) else suggestion

    def complete(self, trial_id: str, **result: Any) -> None:
        self.trials.on_trial_complete(trial_id, {EPOCH: 3, ACCURACY: 0.9, **result})


def test_the_process_of_a_trial_gets_its_configuration_and_command(config: Train) -> None:
    suggestion = Sweep(config, count=1).trials.suggest("a")
    assert isinstance(suggestion, dict)
    assert suggestion["config"] == config.model_copy(update={"run": "trial_0"}).model_dump()
    assert suggestion["parent"] == "sweep"


def test_trials_end_when_there_are_no_more_proposals(config: Train) -> None:
    sweep = Sweep(config, count=2)
    assert [sweep.suggest(key) for key in "abc"] == ["trial_0", "trial_1", FINISHED]
    assert not sweep.trials.finished
    sweep.complete("a")
    sweep.complete("b")
    assert sweep.trials.finished


def test_a_batch_waits_for_all_outcomes_of_the_one_before_and_tells_them_in_order(config: Train) -> None:
    sweep = Sweep(config, count=4, batch=2)
    assert [sweep.suggest(key) for key in "abc"] == ["trial_0", "trial_1", None]
    sweep.complete("b")
    assert sweep.suggest("c") is None
    sweep.complete("a")
    assert sweep.suggest("c") == "trial_2"
    assert sweep.proposals.told == [(0, "complete"), (1, "complete")]


def test_a_recorded_trial_counts_without_being_run(config: Train) -> None:
    known = Outcome("complete", {1: 0.8, 2: 0.9, 3: 0.95}, origin="elsewhere")
    sweep = Sweep(config, count=2, batch=1, recorded={0: known})
    assert sweep.suggest("a") == "trial_1"
    assert sweep.trials.outcomes == {0: known}
    assert sweep.proposals.told == [(0, "complete")]
    assert sweep.concluded == {}


def test_a_recorded_trial_is_a_yardstick_for_the_stopping_rule(config: Train) -> None:
    known = {number: Outcome("complete", {1: 0.8, 2: 0.9, 3: 0.95}, origin="before") for number in range(3)}
    sweep = Sweep(config, count=4, recorded=known)
    sweep.suggest("a")
    (new,) = sweep.trials.running.values()
    stand_in: Any = type("RayTrial", (), {"trial_id": new.name})()
    sweep.rule.on_trial_add(None, stand_in)
    assert sweep.rule.on_trial_result(None, stand_in, {EPOCH: 1, ACCURACY: 0.1}) == "STOP"


@pytest.mark.parametrize("stopping", ["none", "asha", "median"])
def test_every_stopping_rule_takes_recorded_trials(config: Train, stopping: str) -> None:
    config = config.model_copy(update={"sweep": config.sweep.model_copy(update={"stopping": stopping})})
    falling = [Outcome("complete", {1: 0.9 - number / 10, 2: 0.9, 3: 0.95}, origin="before") for number in range(6)]
    sweep = Sweep(config, count=7, recorded=dict(enumerate(falling)))
    assert sweep.suggest("a") == "trial_6"
    assert len(sweep.trials.outcomes) == 6


def test_a_trial_that_is_proposed_twice_takes_the_outcome_of_the_first(config: Train) -> None:
    sweep = Sweep(config, count=2, same_names=True)
    assert [sweep.suggest(key) for key in "ab"] == ["trial", None]
    sweep.recorded[1] = Outcome("complete", {3: 0.9}, origin="before")
    sweep.complete("a")
    assert sweep.suggest("b") == FINISHED
    assert [outcome.complete for outcome in sweep.trials.outcomes.values()] == [True, True]


def test_a_plan_whose_points_depend_on_outcomes_is_followed_as_far_as_it_is_recorded(config: Train) -> None:
    known = {number: Outcome("complete", {3: 0.9}, origin="before") for number in (0, 1, 2, 5)}
    sweep = Sweep(config, count=7, batch=2, recorded=known)
    planned = Plan("0123456789", lambda: sweep.proposals, None, 7, 3)
    assert left(planned, sweep.compose, lambda trial: known.get(trial.number)) == (4, 12)


@pytest.mark.parametrize(
    ("result", "state"),
    [
        ({EPOCH: 3, ACCURACY: 0.9}, "complete"),
        ({EPOCH: 1, ACCURACY: 0.9}, "pruned"),
        ({EPOCH: 3, ACCURACY: float("nan"), FAILED: "no finite number"}, "failed"),
        ({EPOCH: 3, ACCURACY: float("nan"), DIED: "no space left"}, "died"),
    ],
)
def test_the_last_report_of_a_trial_says_what_came_of_it(config: Train, result: dict[str, Any], state: str) -> None:
    sweep = Sweep(config, count=1)
    sweep.suggest("a")
    sweep.trials.on_trial_complete("a", result)
    assert sweep.concluded[0].state == state


def test_a_trial_whose_process_died_counts_as_a_failure(config: Train) -> None:
    sweep = Sweep(config, count=1)
    sweep.suggest("a")
    sweep.trials.on_trial_complete("a", error=True)
    assert sweep.concluded[0].state == "died"
    assert sweep.trials.failures == 1


def test_failures_of_an_earlier_attempt_are_not_counted_again(config: Train) -> None:
    sweep = Sweep(config, count=1, recorded={0: Outcome("failed", origin="before")})
    assert sweep.suggest("a") == FINISHED
    assert sweep.trials.failures == 0


def test_a_trial_that_cannot_be_composed_ends_the_sweep(config: Train) -> None:
    sweep = Sweep(config, count=1)

    def refuse(_number: int, _point: dict[str, str]) -> Trial:
        raise InputError("refused")

    sweep.trials._compose = refuse
    assert sweep.suggest("a") == FINISHED
    assert str(sweep.trials.error) == "refused"


@pytest.mark.parametrize("stopping", ["none", "asha", "median"])
def test_every_stopping_rule_lets_the_best_trial_finish(config: Train, stopping: str) -> None:
    rule = scheduler(config.sweep.model_copy(update={"stopping": stopping}), epochs=3)
    decisions = []
    for quality in (0.1, 0.2, 0.3, 0.9):
        trial: Any = type("RayTrial", (), {"trial_id": str(quality)})()
        rule.on_trial_add(None, trial)
        decisions.append([rule.on_trial_result(None, trial, {EPOCH: epoch, ACCURACY: quality}) for epoch in (1, 2)])
    assert decisions[-1] == ["CONTINUE", "CONTINUE"]


@pytest.mark.parametrize("stopping", ["asha", "median"])
def test_a_stopping_rule_ends_what_is_worse_than_the_others(config: Train, stopping: str) -> None:
    rule = scheduler(config.sweep.model_copy(update={"stopping": stopping}), epochs=3)
    for quality in (0.9, 0.8, 0.85):
        trial: Any = type("RayTrial", (), {"trial_id": str(quality)})()
        rule.on_trial_add(None, trial)
        rule.on_trial_result(None, trial, {EPOCH: 1, ACCURACY: quality})
    bad: Any = type("RayTrial", (), {"trial_id": "bad"})()
    rule.on_trial_add(None, bad)
    assert rule.on_trial_result(None, bad, {EPOCH: 1, ACCURACY: 0.1}) == "STOP"
