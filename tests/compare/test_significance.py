from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.regression.mixed_linear_model import MixedLM

from image_classifier import paths
from image_classifier.compare import significance
from image_classifier.compare.seeds import final_accuracies, read_replicates
from image_classifier.compare.significance import (
    RunTest,
    correct_tests,
    crossed_bootstrap,
    crossed_interval,
    estimate_accuracy,
    paired_test,
    paired_tests,
    seeds_needed,
    seeds_tests,
    verdict,
    welch_test,
)


def correctness(*counts: tuple[int, bool]) -> np.ndarray:
    return np.concatenate([np.full(count, correct) for count, correct in counts])


def test_the_interval_is_wilson_s() -> None:
    # Newcombe (1998), Statistics in Medicine 17, table I, example 81/263: 0.2553 to 0.3662
    found = estimate_accuracy(correctness((81, True), (182, False)), confidence=0.95)
    assert found["value"] == pytest.approx(81 / 263)
    assert [found["low"], found["high"]] == pytest.approx([0.2553, 0.3662], abs=5e-5)


def test_the_p_value_is_the_one_of_the_exact_mcnemar_test() -> None:
    # 5 of 7 differing images favour the first: 2 * (C(7,5) + C(7,6) + C(7,7)) / 2**7 = 58/128
    first = correctness((5, True), (2, False), (10, True))
    second = correctness((5, False), (2, True), (10, True))
    (found,) = paired_tests({"a": first, "b": second}, 0.95)
    assert (found["only_first"], found["only_second"]) == (5, 2)
    assert found["difference"] == pytest.approx(3 / 17)
    assert found["p_value"] == pytest.approx(58 / 128)


def test_equal_predictions_do_not_differ() -> None:
    correct = correctness((5, True), (2, False))
    (found,) = paired_tests({"a": correct, "b": correct}, 0.95)
    assert (found["difference"], found["p_value"]) == (0, 1)


def test_every_two_runs_are_tested_once() -> None:
    correct = correctness((2, True))
    tests = paired_tests({"a": correct, "b": correct, "c": correct}, 0.95)
    assert [(test["first"], test["second"]) for test in tests] == [("a", "b"), ("a", "c"), ("b", "c")]


def test_the_bootstrap_interval_agrees_with_the_standard_error() -> None:
    first = correctness((300, True), (100, False), (600, True))
    second = correctness((300, False), (100, True), (600, True))
    (found,) = paired_tests({"a": first, "b": second}, 0.95)
    error = (0.4 - 0.2**2) ** 0.5 / 1000**0.5
    assert [found["low"], found["high"]] == pytest.approx([0.2 - 1.96 * error, 0.2 + 1.96 * error], abs=0.004)


def corrected(*p_values: float) -> list[RunTest]:
    """Return tests whose intervals end at the level and at 1."""
    return correct_tests([({"difference": 0.5, "p_value": p}, lambda level: (level, 1.0)) for p in p_values], 0.95)


def test_p_values_get_holm_s_correction() -> None:
    # 0.01, 0.04, 0.03, 0.005 become 0.03, 0.06, 0.06, 0.02: times 3, 1, 2, 4, never less than the one before
    tests = corrected(0.01, 0.04, 0.03, 0.005)
    assert [test["adjusted"] for test in tests] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert [test["multiplier"] for test in tests] == [3, 1, 2, 4]


def test_the_error_probability_of_an_interval_is_divided_by_the_number_of_tests() -> None:
    assert [test["low"] for test in corrected(0.01, 0.04)] == pytest.approx([0.975, 0.975])


def test_the_multiplier_of_a_clipped_p_value_is_the_one_of_its_rank() -> None:
    tests = corrected(0.6, 0.9)
    assert [(test["adjusted"], test["multiplier"]) for test in tests] == [(1.0, 2), (1.0, 1)]


# Extra hours of sleep with two drugs (Student 1908, table I; expected values from R's t.test)
FIRST = pd.Series([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
SECOND = pd.Series([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])


def test_means_of_seeds_are_compared_with_welch_s_statistic_and_the_degrees_of_the_smaller_sample() -> None:
    (found,) = seeds_tests({"a": FIRST, "b": SECOND}, 0.95, {})
    assert found["difference"] == pytest.approx(-1.58)
    # t = -1.8608 (R); Student's t distribution with 9 degrees of freedom has the quantile 2.2622
    assert found["p_value"] == pytest.approx(2 * stats.t.sf(1.8608, 9), abs=1e-5)
    error = 1.58 / 1.8608
    assert [found["low"], found["high"]] == pytest.approx([-1.58 - 2.2622 * error, -1.58 + 2.2622 * error], abs=1e-3)
    assert found["seeds"] == [10, 10]


def test_equal_accuracies_of_seeds_do_not_exclude_noise() -> None:
    same = pd.Series([0.99, 0.99])
    (found,) = seeds_tests({"a": same, "b": same + 1e-4}, 0.95, {})
    assert found["p_value"] == pytest.approx(0.5)  # t = -1 at one degree of freedom
    assert found["low"] < 0 < found["high"]


@pytest.mark.parametrize(
    ("adjusted", "difference", "low", "high", "expected"),
    [
        (0.04, 0.01, 0.001, 0.02, "better"),
        (0.04, -0.01, -0.02, -0.001, "worse"),
        (0.06, 0.01, -0.03, 0.03, "within noise"),
        (0.06, 0.01, -0.01, 0.03, "at most 2.00% worse"),
        (0.06, -0.01, -0.03, 0.01, "at most 2.00% better"),
        (0.06, 0.0, -0.01, 0.01, "equal within 2.00%"),
    ],
)
def test_the_p_value_and_then_the_margin_decide_the_verdict(
    adjusted: float, difference: float, low: float, high: float, expected: str
) -> None:
    test = {"adjusted": adjusted, "difference": difference, "low": low, "high": high}
    assert verdict(test, confidence=0.95, margin=0.02) == expected


def needed(multiplier: int = 1, seeds: int = 10_000, deviation: float = 0.2) -> tuple[int, int]:
    test = {"seeds": [seeds, seeds], "deviation": deviation, "multiplier": multiplier}
    return seeds_needed(test, confidence=0.95, margin=0.1)


def test_the_number_of_seeds_has_a_power_of_80_percent() -> None:
    # Cohen (1988): the one-sample test needs 34 for a medium effect; a difference has twice the variance of a seed
    least, most = needed(deviation=0.2 / 2**0.5)
    assert least <= 34 <= most
    assert most - least <= 2, "the standard deviation of 10,000 seeds is known well"


def test_the_number_of_seeds_allows_for_the_correction() -> None:
    assert needed(multiplier=6)[0] > needed()[1]


def test_the_number_of_seeds_is_less_certain_with_few_seeds() -> None:
    (least, most), (least_of_many, most_of_many) = needed(seeds=3), needed(seeds=30)
    assert least < least_of_many < most_of_many < most


def test_a_difference_of_many_standard_deviations_needs_two_seeds() -> None:
    assert needed(deviation=1e-4) == (2, 2)


MOST_REJECTED = 31  # of 400 tests at the level of 5%: the 99% quantile of the binomial distribution


@pytest.mark.parametrize("sizes", [(3, 3), (3, 5), (2, 10)])
def test_equal_recipes_are_told_apart_at_most_as_often_as_the_level_says(sizes: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    pairs = [[random.normal(0.99, 0.001, size) for size in sizes] for _ in range(400)]
    p_values = [welch_test("a", "b", *pair)[0]["p_value"] for pair in pairs]
    assert sum(p_value < 0.05 for p_value in p_values) <= MOST_REJECTED


def test_seeds_of_the_same_recipe_are_told_apart_at_most_as_often_as_the_level_says() -> None:
    rejected, num_splits = 0, 0
    for _, seeds in read_replicates(paths.REPLICATES).groupby(["recipe", "environment"]):
        accuracies = final_accuracies(seeds).to_numpy()
        for chosen in combinations(range(len(accuracies)), 2):
            others = np.delete(accuracies, chosen)
            if len(others) > 1:
                rejected += welch_test("a", "b", accuracies[list(chosen)], others)[0]["p_value"] < 0.05
                num_splits += 1
    assert num_splits >= 20
    assert rejected <= 0.05 * num_splits


def test_equal_models_are_told_apart_at_most_as_often_as_the_level_says() -> None:
    random = np.random.default_rng(0)
    correct = random.random((400, 2, 500)) < 0.97
    assert sum(paired_test("a", "b", a, b)[0]["p_value"] < 0.05 for a, b in correct) <= MOST_REJECTED


def answers(random: np.random.Generator, seeds: int, difficulty: np.ndarray, spread: float) -> np.ndarray:
    """Return which images the seeds of a run answer correctly, if seeds and images differ in their log odds."""
    odds = difficulty + random.normal(0, spread, (seeds, 1))
    correct: np.ndarray = random.random((seeds, len(difficulty))) < 1 / (1 + np.exp(-odds))
    return correct


@pytest.mark.parametrize(("sizes", "spread"), [((3, 3), 0.0), ((3, 3), 1.0), ((2, 5), 1.0), ((5, 5), 0.3)])
def test_equal_recipes_are_told_apart_on_other_images_at_most_as_often_as_the_level_says(
    sizes: tuple[int, int], spread: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(significance, "CROSSED_RESAMPLES", 100)
    random = np.random.default_rng(0)
    excluded = 0
    for _ in range(400):
        difficulty = random.normal(5, 3, 300)
        first, second = (answers(random, size, difficulty, spread) for size in sizes)
        low, high = crossed_interval(first, second, 0.95)
        excluded += not low <= 0 <= high
    assert excluded <= MOST_REJECTED


def test_the_crossed_bootstrap_has_the_variance_of_a_mixed_model_with_the_interaction_up_to_three_times() -> None:
    seeds, images = 5, 25
    random = np.random.default_rng(0)
    run = np.repeat([0, 1], seeds * images)
    seed = np.repeat(np.arange(2 * seeds), images)
    image = np.tile(np.arange(images), 2 * seeds)
    effects = random.normal(0, 0.3, 2 * seeds)[seed] + random.normal(0, 1, images)[image]
    values = effects + random.normal(0, 1, (2, images))[run, image] + random.normal(0, 1, len(run))
    frame = pd.DataFrame({"y": values, "run": run, "seed": seed, "image": image})
    components = {"seed": "0 + C(seed)", "image": "0 + C(image)", "run_image": "0 + C(image):C(run)"}
    model = MixedLM.from_formula("y ~ run", frame, vc_formula=components, groups=np.ones(len(frame)))
    fitted = model.fit(method="lbfgs")
    first, second = values.reshape(2, seeds, images)
    found = crossed_bootstrap(first, second).var()
    expected, interaction = fitted.bse_fe["run"] ** 2, fitted.scale * 2 / (seeds * images)
    assert 0.95 * expected < found < 1.05 * (expected + 2 * interaction)


def test_the_variance_of_the_crossed_bootstrap_is_the_closed_form_of_the_pigeonhole_bootstrap() -> None:
    random = np.random.default_rng(0)
    runs = answers(random, 3, random.normal(2, 2, 200), 1), answers(random, 5, random.normal(2, 2, 200), 1)
    variance = 0.0
    for run in runs:
        residuals = run - run.mean(axis=1, keepdims=True) - run.mean(axis=0) + run.mean()
        variance += (run.mean(axis=1).var(ddof=1) + residuals.var() / 200 * len(run) / (len(run) - 1)) / len(run)
    variance += (runs[0].mean(axis=0) - runs[1].mean(axis=0)).var() / 200
    assert crossed_bootstrap(*runs).var() == pytest.approx(variance, rel=0.1)


def test_the_interval_for_other_images_contains_the_one_of_welch_s_test() -> None:
    random = np.random.default_rng(0)
    difficulty = random.normal(3, 2, 500)
    runs = {run: answers(random, 4, difficulty + shift, 0.3) for run, shift in (("a", 0), ("b", 0.5), ("c", 1))}
    accuracies = {run: pd.Series(correct.mean(axis=1)) for run, correct in runs.items()}
    tests = seeds_tests(accuracies, 0.95, {run: runs[run] for run in ("a", "b")})
    (found,) = (test for test in tests if test["crossed"])
    assert (found["first"], found["second"]) == ("a", "b")
    assert found["crossed"] == pytest.approx(crossed_interval(runs["a"], runs["b"], 1 - 0.05 / 3))
    assert found["crossed"][0] < found["low"] < found["high"] < found["crossed"][1]


def test_seeds_with_the_same_answers_give_an_interval_of_the_resolution() -> None:
    low, high = crossed_interval(np.ones((3, 10), bool), np.ones((3, 10), bool), 0.95)
    assert -0.001 < low < 0 < high < 0.001
