import math
import re
from collections.abc import Callable

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from image_classifier import paths
from image_classifier.config.compose import compose, resolve
from image_classifier.config.schema import Sweep, Train
from image_classifier.dataset import count_held_out
from image_classifier.errors import InputError
from image_classifier.provenance.fingerprint import TrainingInput
from image_classifier.sweep import plan
from image_classifier.sweep.plan import Plan, Trial, build_plan, plan_points, random_points, tpe_batches, validate_space
from image_classifier.sweep.space import Point, Space, parse_space
from image_classifier.track.outcome import Outcome

PRESETS = sorted(file.stem for file in (paths.CONF / "sweep").glob("*.yaml"))
FILES = {"data/prepared/mnist": "0123"}


def space_and_settings(preset: str, *overrides: str) -> tuple[Space, Sweep]:
    own = [f"sweep={preset}", *(override for override in overrides if override.startswith("sweep."))]
    parsed = OverridesParser.create().parse_overrides([f"sweep={preset}", *overrides])
    return parse_space(parsed, threads=1), resolve(Train, compose("train", own)).sweep


def build(preset: str, *overrides: str, files: dict[str, str] = FILES) -> Plan:
    space, settings = space_and_settings(preset, *overrides)
    return build_plan(space, settings, validate_space(space, settings), files)


def trials(*overrides: str, preset: str = "grid", files: dict[str, str] = FILES) -> list[Trial]:
    return next(build(preset, *overrides, files=files).batches({}))


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_plans_a_sweep(preset: str) -> None:
    assert build(preset, "batch_size=32,64").num_trials > 1


def test_trials_validate_on_held_out_images_with_the_threads_of_a_trial() -> None:
    trial, _ = trials("batch_size=32,64")
    assert count_held_out(60_000, trial.config.validation.size) == 10_000
    assert trial.config.training.intra_op_threads == 1


def test_configuration_data_and_code_decide_the_name_of_a_trial() -> None:
    first = trials("batch_size=32,64")
    others = trials("batch_size=64,128", "sweep.trials=20", preset="random")
    names = {trial.point["batch_size"]: trial.name for trial in others}
    assert names["64"] == first[1].name
    assert names["128"] not in {trial.name for trial in first}
    (changed,) = trials("batch_size=64", files={"data/prepared/mnist": "4567"})
    assert changed.name != first[1].name


def test_the_command_of_a_trial_composes_its_configuration() -> None:
    trial, _ = trials("optimizer=adam", "optimizer.learning_rate=0.1,0.2")
    overrides = trial.input.command.removeprefix("python -m pipelines.train ").split()
    assert resolve(Train, compose("train", overrides)) == trial.config


def test_everything_but_the_number_of_trials_decides_the_fingerprint() -> None:
    three = build("tpe", "batch_size=32,64", "sweep.trials=3").fingerprint
    assert re.fullmatch("[0-9a-f]{10}", three)
    assert build("tpe", "batch_size=32,64", "sweep.trials=9").fingerprint == three
    assert build("tpe", "batch_size=32,64", "sweep.seed=1").fingerprint != three
    assert build("tpe", "batch_size=32,65").fingerprint != three
    assert build("tpe", "batch_size=32,64", files={"data/prepared/mnist": "4567"}).fingerprint != three


def test_more_points_continue_the_same_sweep() -> None:
    points = [{"training.seed": str(seed)} for seed in (1, 2)]
    of_one, of_two = (plan_points(Space((), {}), points[:count], ["sgd_32"], FILES) for count in (1, 2))
    assert of_one.fingerprint == of_two.fingerprint
    assert plan_points(Space((), {}), points, ["sgd_128"], FILES).fingerprint != of_two.fingerprint


@pytest.mark.parametrize(
    ("preset", "overrides", "message"),
    [
        ("grid", ["sweep.trials=3", "batch_size=32,64"], "sweep.trials=3: a grid has one trial for each combination."),
        ("random", ["sweep.trials=null", "batch_size=32,64"], "sweep.trials=null: sweep.search=random needs"),
        ("tpe", ["epochs=3"], "sweep.search=tpe has no values to choose from"),
        ("grid", ["optimizer.learning_rate=interval(1, 2)"], "a grid cannot list an interval"),
        ("grid", ["validation.size=0", "epochs=1,2"], "validation.name=held_out: does not fit size=0"),
        ("grid", ["sweep.address=local", "epochs=1,2"], "sweep.address=local: String should match"),
        ("grid", ["optimizer=sgd,adam", "optimizer.nesterov=true"], "Not every choice of the groups"),
        ("tpe", ["optimizer.momentum=interval(-1, 0.5)"], "Keras refuses optimizer"),
        ("grid", ["epoch=1,2"], "Unknown key 'epoch'. Did you mean 'epochs'?"),
        ("grid", ["optimizer=sgd,sdg"], "Unknown optimizer 'sdg'."),
        ("grid", ["batch_size=32,64,0"], "batch_size=0: should be greater than 0"),
        ("tpe", ["batch_size=int(interval(0, 9))"], "batch_size=0: should be greater than 0"),
        ("grid", ["optimizer.momentum=0.5,-1.0"], "Keras refuses optimizer"),
    ],
)
def test_an_invalid_value_is_named_before_the_first_trial(preset: str, overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        build(preset, *overrides)


SPACE = parse_space(
    OverridesParser.create().parse_overrides(["rate=tag(log, interval(1e-4, 1))", "batch_size=32,64,128"]), threads=1
)


def outcome(point: Point) -> Outcome:
    """Best at a rate of 0.01; bad points are pruned or fail."""
    accuracy = 1 - abs(math.log10(float(point["rate"])) + 2) / 4
    if accuracy < 0.6:
        return Outcome("failed", reason="diverged")
    return Outcome("pruned" if accuracy < 0.7 else "complete", {1: accuracy / 2, 2: accuracy})


@pytest.fixture
def proposed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Point]]:
    """Returns the points that TPE proposes for a seed, in batches of two."""
    config = resolve(Train, compose("train", ["run=trial", "sweep=tpe"]))

    def make_trial(_space: Space, _files: dict[str, str], number: int, point: Point) -> Trial:
        named = config.model_copy(update={"run": f"trial_{number}"})
        return Trial(number, point, named, TrainingInput("", "", "", {}))

    def propose(seed: int, trials: int = 24) -> list[Point]:
        settings = config.sweep.model_copy(update={"seed": seed, "trials": trials, "proposal_batch": 2})
        points, outcomes = list[Point](), dict[str, Outcome]()
        for batch in tpe_batches(SPACE, settings, FILES, outcomes):
            assert [trial.number for trial in batch] == list(range(len(points), len(points) + len(batch)))
            points += [trial.point for trial in batch]
            outcomes |= {trial.name: outcome(trial.point) for trial in batch}
        return points

    monkeypatch.setattr(plan, "compose_trial", make_trial)
    return propose


def test_the_same_seed_and_outcomes_propose_the_same_points(proposed: Callable[..., list[Point]]) -> None:
    assert proposed(seed=1) == proposed(seed=1)
    assert proposed(seed=1) != proposed(seed=2)


def test_a_number_of_trials_that_is_no_multiple_of_the_batch_is_kept(proposed: Callable[..., list[Point]]) -> None:
    assert len(proposed(seed=1, trials=5)) == 5


def test_more_trials_extend_the_points_of_fewer(proposed: Callable[..., list[Point]]) -> None:
    assert proposed(seed=1, trials=30)[:24] == proposed(seed=1)


def test_later_points_are_nearer_to_the_best_than_the_random_start(proposed: Callable[..., list[Point]]) -> None:
    accuracies = [outcome(point).accuracy or 0 for point in proposed(seed=0, trials=40)]
    assert sum(accuracies[-10:]) > sum(accuracies[:10])


def test_random_points_follow_the_seed_without_duplicates() -> None:
    few, _ = space_and_settings("grid", "batch_size=32,64")
    assert sorted(point["batch_size"] for point in random_points(few, seed=0, trials=20)) == ["32", "64"]
    assert random_points(SPACE, seed=1, trials=5) == random_points(SPACE, seed=1, trials=5)
    assert random_points(SPACE, seed=1, trials=5) != random_points(SPACE, seed=2, trials=5)
