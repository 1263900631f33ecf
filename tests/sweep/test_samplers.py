import math

from hydra.core.override_parser.overrides_parser import OverridesParser

from image_classifier.config.compose import compose, resolve
from image_classifier.config.schema import Train
from image_classifier.provenance.fingerprint import TrainingInput
from image_classifier.sweep.samplers import FixedSampler, TPESampler, random_points
from image_classifier.sweep.space import Point, Space, parse_space
from image_classifier.sweep.trials import Outcome, Trial

CONFIG = resolve(Train, compose("train", ["run=trial", "sweep=tpe"]))


def space(*overrides: str) -> Space:
    return parse_space(OverridesParser.create().parse_overrides(list(overrides)), threads=1)


SPACE = space("rate=tag(log, interval(1e-4, 1))", "batch_size=32,64,128")


def make_trial(number: int, point: Point) -> Trial:
    return Trial(number, point, CONFIG, TrainingInput("", "", "", {}))


def outcome(point: Point) -> Outcome:
    """Best at a rate of 0.01; bad points are pruned or fail."""
    accuracy = 1 - abs(math.log10(float(point["rate"])) + 2) / 4
    if accuracy < 0.6:
        return Outcome("failed", reason="diverged")
    return Outcome("pruned" if accuracy < 0.7 else "complete", {1: accuracy / 2, 2: accuracy})


def proposed(seed: int, trials: int = 24) -> list[Point]:
    settings = CONFIG.sweep.model_copy(update={"seed": seed, "trials": trials, "proposal_batch": 2})
    sampler, points = TPESampler(SPACE, settings, make_trial), list[Point]()
    while batch := sampler.next_batch():
        assert [trial.number for trial in batch] == list(range(len(points), len(points) + len(batch)))
        points += [trial.point for trial in batch]
        sampler.tell([outcome(trial.point) for trial in batch])
    return points


def test_the_same_seed_and_outcomes_propose_the_same_points() -> None:
    assert proposed(seed=1) == proposed(seed=1)
    assert proposed(seed=1) != proposed(seed=2)


def test_a_number_of_trials_that_is_no_multiple_of_the_batch_is_kept() -> None:
    assert len(proposed(seed=1, trials=5)) == 5


def test_more_trials_extend_the_points_of_fewer() -> None:
    assert proposed(seed=1, trials=30)[:24] == proposed(seed=1)


def test_later_points_are_nearer_to_the_best_than_the_random_start() -> None:
    accuracies = [outcome(point).accuracy or 0 for point in proposed(seed=0, trials=40)]
    assert sum(accuracies[-10:]) > sum(accuracies[:10])


def test_random_points_follow_the_seed_without_duplicates() -> None:
    few = space("batch_size=32,64")
    assert sorted(point["batch_size"] for point in random_points(few, seed=0, trials=20)) == ["32", "64"]
    assert random_points(SPACE, seed=1, trials=5) == random_points(SPACE, seed=1, trials=5)
    assert random_points(SPACE, seed=1, trials=5) != random_points(SPACE, seed=2, trials=5)


def test_fixed_trials_are_one_batch() -> None:
    trials = [make_trial(0, {"a": "1"}), make_trial(1, {"a": "2"})]
    sampler = FixedSampler(trials)
    assert [sampler.next_batch(), sampler.next_batch()] == [trials, []]
