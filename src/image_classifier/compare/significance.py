"""Tests whether two runs differ, on the test images and over their seeds."""

import math
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

BOOTSTRAP = {"n_resamples": 2000, "batch": 100, "method": "percentile", "rng": 0}
ACCURACY_RESOLUTION = 1e-4  # one of 10,000 images; accuracies of seeds that differ by less do not exclude noise
POWER = 0.8
MAX_EFFECT = 5  # standard deviations, for which three seeds are enough; the solver does not converge above

RunTest = dict[str, Any]  # JSON types: the keys of `_make_test`, and the evidence of `paired_tests` or `seeds_tests`


def estimate_accuracy(correct: np.ndarray, confidence: float) -> dict[str, float]:
    """Return the share of correct images as value, and Wilson's score interval (Wilson 1927) as low and high.

    Args:
        correct: Whether each image is classified correctly, bool, (n,).
        confidence: Level of the interval, 0 to 1, exclusive.
    """
    low, high = stats.binomtest(int(correct.sum()), len(correct)).proportion_ci(confidence, method="wilson")
    return {"value": float(correct.mean()), "low": float(low), "high": float(high)}


def paired_tests(correct: Mapping[str, np.ndarray], confidence: float) -> list[RunTest]:
    """Compare every two runs on the same images.

    The p-value is that of the exact McNemar test (McNemar 1947), which is a sign test of the images that only one run
    classifies correctly. The interval is a percentile bootstrap over the images (Efron 1979).

    Args:
        correct: Whether each run classifies each image correctly, bool, (n,); the same n images for all runs.
        confidence: Level of the intervals, 0 to 1, exclusive.

    Returns:
        Tests with the keys of `_make_test` and three more:

        - only_first: Number of images that only the first run classifies correctly.
        - only_second: Number of images that only the second run classifies correctly.
        - examples: Number of images.
    """
    tests = []
    for first, second in combinations(correct, 2):
        difference = correct[first].astype(float) - correct[second]
        only_first, only_second = int((difference > 0).sum()), int((difference < 0).sum())
        interval = stats.bootstrap((difference,), np.mean, confidence_level=confidence, **BOOTSTRAP).confidence_interval
        p_value = mcnemar([[0, only_first], [only_second, 0]], exact=True).pvalue
        evidence = {"only_first": only_first, "only_second": only_second, "examples": len(difference)}
        tests.append(_make_test(first, second, difference.mean(), interval, p_value, evidence))
    return adjust_p_values(tests)


def seeds_tests(accuracies: Mapping[str, pd.Series], confidence: float) -> list[RunTest]:
    """Compare the mean accuracies of every two runs over their seeds.

    Args:
        accuracies: Final accuracies of each run, 0 to 1; index seed, at least two.
        confidence: Level of the intervals, 0 to 1, exclusive.

    Returns:
        Tests with the keys of `_make_test` and three more:

        - seeds: Number of seeds of the first and of the second run.
        - method: "paired t" for Student's paired t test, if both runs have the same seeds; "Welch's t" otherwise.
        - deviation: Standard deviation of the difference between a seed of the first and a seed of the second run.
    """
    tests = []
    for first, second in combinations(accuracies, 2):
        a, b = accuracies[first], accuracies[second]
        seeds, difference = (len(a), len(b)), a.mean() - b.mean()
        paired = a.index.equals(b.index)
        deviation = (a - b).std() if paired else (a.var() + b.var()) ** 0.5
        if deviation >= ACCURACY_RESOLUTION:
            result = stats.ttest_rel(a, b) if paired else stats.ttest_ind(a, b, equal_var=False)
            p_value, interval = result.pvalue, result.confidence_interval(confidence)
        else:
            deviation, degrees = ACCURACY_RESOLUTION, min(seeds) - 1
            error = deviation / min(seeds) ** 0.5
            p_value = 2 * stats.t.sf(abs(difference) / error, degrees)
            interval = stats.t.interval(confidence, degrees, difference, error)
        evidence = {"seeds": seeds, "method": "paired t" if paired else "Welch's t", "deviation": float(deviation)}
        tests.append(_make_test(first, second, difference, interval, p_value, evidence))
    return adjust_p_values(tests)


def _make_test(
    first: str, second: str, difference: float, interval: tuple[float, float], p_value: float, evidence: RunTest
) -> RunTest:
    """Make a test of two runs.

    Returns:
        The names of the runs, the values of `evidence`, and:

        - difference: Accuracy of the first run minus accuracy of the second, -1 to 1.
        - low, high: Ends of the confidence interval of the difference.
        - p_value: Probability of a difference at least as large if both runs were equally good.
        - adjusted: P-value with Holm's correction, which `adjust_p_values` makes for all tests together.
    """
    low, high = map(float, interval)
    values = {"difference": float(difference), "low": low, "high": high, "p_value": float(p_value), "adjusted": 1.0}
    return {"first": first, "second": second, **values, **evidence}


def adjust_p_values(tests: list[RunTest]) -> list[RunTest]:
    """Correct the p-values of tests that are made together (Holm 1979)."""
    adjusted = multipletests([test["p_value"] for test in tests], method="holm")[1] if tests else []
    return [{**test, "adjusted": float(value)} for test, value in zip(tests, adjusted, strict=True)]


def verdict(test: RunTest, significance: float) -> str:
    """Return whether the first run is "better", "worse" or "within noise", with the number of seeds that would decide.

    Args:
        test: Test whose adjusted p-value decides.
        significance: Significance level, 0 to 1, exclusive.
    """
    if test["adjusted"] < significance:
        return "better" if test["difference"] > 0 else "worse"
    if "seeds" not in test or test["difference"] == 0:
        return "within noise"
    needed = seeds_needed(test["difference"], test["deviation"], significance * test["p_value"] / test["adjusted"])
    return f"within noise (about {needed:,} seeds needed)"


def seeds_needed(difference: float, deviation: float, significance: float) -> int:
    """Estimate the number of seeds of each run at which the paired t test detects a difference with 80% power.

    Args:
        difference: Difference between the means, not 0.
        deviation: Standard deviation of the difference between two seeds, above 0.
        significance: Significance level, 0 to 1, exclusive.
    """
    effect = min(abs(difference) / deviation, MAX_EFFECT)
    needed = TTestPower().solve_power(effect, power=POWER, alpha=significance)
    return math.ceil(float(np.max(needed)))
