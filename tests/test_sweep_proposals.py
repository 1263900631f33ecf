import math

from hydra.core.override_parser.overrides_parser import OverridesParser

from mnist_cnn.sweep.proposals import Listed, Parzen, random_points
from mnist_cnn.sweep.space import Space, parse
from mnist_cnn.sweep.trials import Outcome


def space(*overrides: str) -> Space:
    return parse(OverridesParser.create().parse_overrides(list(overrides)))


SPACE = space("rate=tag(log, interval(1e-4, 1))", "batch_size=32,64,128")


def outcome(point: dict[str, str]) -> Outcome:
    """Best at a rate of 0.01; every fifth point or so is pruned or fails."""
    accuracy = 1 - abs(math.log10(float(point["rate"])) + 2) / 4
    if accuracy < 0.6:
        return Outcome("failed", reason="diverged")
    return Outcome("pruned" if accuracy < 0.7 else "complete", {1: accuracy / 2, 2: accuracy})


def proposed(seed: int, trials: int = 24) -> list[dict[str, str]]:
    proposals, points = Parzen(SPACE, seed, trials, batch=2), []
    while point := proposals.propose():
        points.append(point)
        if len(points) % 2 == 0:
            for number in (len(points) - 2, len(points) - 1):
                proposals.learn(number, outcome(points[number]))
    return points


def test_the_same_seed_and_outcomes_propose_the_same_points() -> None:
    assert proposed(seed=1) == proposed(seed=1)
    assert proposed(seed=1) != proposed(seed=2)


def test_more_trials_go_on_where_fewer_ended() -> None:
    assert proposed(seed=1, trials=30)[:24] == proposed(seed=1)


def test_later_points_are_nearer_to_the_best_than_the_random_start() -> None:
    accuracies = [outcome(point).accuracy or 0 for point in proposed(seed=0, trials=40)]
    assert sum(accuracies[-10:]) > sum(accuracies[:10])


def test_random_points_follow_the_seed_and_come_once() -> None:
    few = space("batch_size=32,64")
    assert sorted(point["batch_size"] for point in random_points(few, seed=0, trials=20)) == ["32", "64"]
    assert random_points(SPACE, seed=1, trials=5) == random_points(SPACE, seed=1, trials=5)
    assert random_points(SPACE, seed=1, trials=5) != random_points(SPACE, seed=2, trials=5)


def test_listed_points_come_in_their_order_and_end() -> None:
    proposals = Listed([{"a": "1"}, {"a": "2"}])
    assert [proposals.propose() for _ in range(3)] == [{"a": "1"}, {"a": "2"}, None]
