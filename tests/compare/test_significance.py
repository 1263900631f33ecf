import numpy as np
import pandas as pd
import pytest

from image_classifier.compare.significance import (
    adjust_p_values,
    estimate_accuracy,
    paired_tests,
    seeds_needed,
    seeds_tests,
    verdict,
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


def test_p_values_get_holm_s_correction() -> None:
    # 0.01, 0.04, 0.03, 0.005 become 0.03, 0.06, 0.06, 0.02: times 3, 1, 2, 4, never less than the one before
    adjusted = adjust_p_values([{"p_value": p_value} for p_value in (0.01, 0.04, 0.03, 0.005)])
    assert [test["adjusted"] for test in adjusted] == pytest.approx([0.03, 0.06, 0.06, 0.02])


# Extra hours of sleep with two drugs (Student 1908, table I; expected values from R's t.test)
FIRST = pd.Series([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
SECOND = pd.Series([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])


def test_equal_sets_of_seeds_are_compared_with_the_paired_t_test() -> None:
    (found,) = seeds_tests({"a": FIRST, "b": SECOND}, 0.95)
    assert found["method"] == "paired t"
    assert found["difference"] == pytest.approx(-1.58)
    assert found["p_value"] == pytest.approx(0.002833, abs=5e-7)
    assert [found["low"], found["high"]] == pytest.approx([-2.4598858, -0.7001142])


def test_different_sets_of_seeds_are_compared_with_welch_s_test() -> None:
    (found,) = seeds_tests({"a": FIRST, "b": SECOND.set_axis(range(10, 20))}, 0.95)
    assert found["method"] == "Welch's t"
    assert found["p_value"] == pytest.approx(0.07939, abs=5e-6)
    assert [found["low"], found["high"]] == pytest.approx([-3.3654832, 0.2054832])


def test_equal_accuracies_do_not_differ() -> None:
    (found,) = seeds_tests({"a": FIRST, "b": FIRST}, 0.95)
    assert verdict(found, 0.05) == "within noise"


def test_equal_differences_of_two_seeds_do_not_exclude_noise() -> None:
    (found,) = seeds_tests({"a": pd.Series([0.9912, 0.9900]), "b": pd.Series([0.9911, 0.9899])}, 0.95)
    assert verdict(found, 0.05).startswith("within noise")
    # t = sqrt(2) at one degree of freedom: 1 - 2 / pi * arctan(sqrt(2))
    assert found["p_value"] == pytest.approx(0.39183, abs=1e-5)
    assert found["low"] < 0 < found["high"]


def test_the_number_of_seeds_gives_the_paired_t_test_a_power_of_80_percent() -> None:
    # Cohen (1988): a medium effect, 0.5, at the 5 % level needs 34 pairs
    assert seeds_needed(-0.5, 1, 0.05) == 34


def test_a_difference_of_many_standard_deviations_needs_three_seeds() -> None:
    assert [seeds_needed(difference, 1, 0.05) for difference in (5.0, 5.5, 8.0, 100.0)] == [3] * 4


def test_the_adjusted_p_value_decides_the_verdict() -> None:
    (found,) = seeds_tests({"a": FIRST, "b": SECOND}, 0.95)
    assert verdict(found, 0.05) == "worse"
    assert verdict({**found, "difference": 1.58}, 0.05) == "better"
    assert verdict({**found, "adjusted": 0.06}, 0.05).startswith("within noise (about ")


def test_the_number_of_seeds_allows_for_holm_s_correction() -> None:
    (found,) = seeds_tests({"a": FIRST, "b": SECOND}, 0.95)
    needed = seeds_needed(found["difference"], found["deviation"], 0.05 / 20)
    corrected = {**found, "adjusted": 20 * found["p_value"]}
    assert verdict(corrected, 0.05) == f"within noise (about {needed} seeds needed)"
