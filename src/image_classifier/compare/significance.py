"""Tests whether two runs differ, on the test images and over their seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TypeVar

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


@dataclass(frozen=True)
class Accuracy:
    """An accuracy with its confidence interval; all values from 0 to 1."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class RunTest:
    """Test of the difference between the accuracies of two runs.

    Attributes:
        first: Name of the first run.
        second: Name of the second run.
        difference: Accuracy of `first` minus accuracy of `second`, -1 to 1.
        low: Lower end of the confidence interval of the difference.
        high: Upper end of the confidence interval of the difference.
        p_value: Probability of a difference at least as large if both runs were equally good.
        adjusted: P-value with Holm's correction for all tests that were made together.
    """

    first: str
    second: str
    difference: float
    low: float
    high: float
    p_value: float
    adjusted: float = 1.0


@dataclass(frozen=True, kw_only=True)
class PairedTest(RunTest):
    """Exact McNemar test of two runs on the same images.

    Attributes:
        only_first: Number of images that only `first` classifies correctly.
        only_second: Number of images that only `second` classifies correctly.
        examples: Number of images.
    """

    only_first: int
    only_second: int
    examples: int


@dataclass(frozen=True, kw_only=True)
class SeedsTest(RunTest):
    """Test of the mean accuracies of two runs over their seeds.

    Attributes:
        seeds: Number of seeds of `first` and of `second`.
        method: "paired t" for Student's paired t test, if both runs have the same seeds; "Welch's t" otherwise.
        deviation: Standard deviation of the difference between a seed of `first` and a seed of `second`.
    """

    seeds: tuple[int, int]
    method: str
    deviation: float


Test = TypeVar("Test", bound=RunTest)


def estimate_accuracy(correct: np.ndarray, confidence: float) -> Accuracy:
    """Return the share of correct images with Wilson's score interval (Wilson 1927).

    Args:
        correct: Whether each image is classified correctly, bool, (n,).
        confidence: Level of the interval, 0 to 1, exclusive.
    """
    low, high = stats.binomtest(int(correct.sum()), len(correct)).proportion_ci(confidence, method="wilson")
    return Accuracy(float(correct.mean()), float(low), float(high))


def paired_tests(correct: Mapping[str, np.ndarray], confidence: float) -> list[PairedTest]:
    """Compare every two runs on the same images.

    The p-value is that of the exact McNemar test (McNemar 1947), which is a sign test of the images that only one run
    classifies correctly. The interval is a percentile bootstrap over the images (Efron 1979).

    Args:
        correct: Whether each run classifies each image correctly, bool, (n,); the same n images for all runs.
        confidence: Level of the intervals, 0 to 1, exclusive.
    """
    tests = []
    for first, second in combinations(correct, 2):
        difference = correct[first].astype(float) - correct[second]
        only_first, only_second = int((difference > 0).sum()), int((difference < 0).sum())
        low, high = stats.bootstrap(
            (difference,), np.mean, confidence_level=confidence, **BOOTSTRAP
        ).confidence_interval
        test = PairedTest(
            first=first,
            second=second,
            difference=float(difference.mean()),
            low=float(low),
            high=float(high),
            p_value=float(mcnemar([[0, only_first], [only_second, 0]], exact=True).pvalue),
            only_first=only_first,
            only_second=only_second,
            examples=len(difference),
        )
        tests.append(test)
    return _adjust_p_values(tests)


def seeds_tests(accuracies: Mapping[str, pd.Series], confidence: float) -> list[SeedsTest]:
    """Compare the mean accuracies of every two runs over their seeds.

    Args:
        accuracies: Final accuracies of each run, 0 to 1; index seed, at least two.
        confidence: Level of the intervals, 0 to 1, exclusive.
    """
    tests = []
    for first, second in combinations(accuracies, 2):
        a, b = accuracies[first], accuracies[second]
        seeds, difference = (len(a), len(b)), float(a.mean() - b.mean())
        paired = a.index.equals(b.index)
        deviation = (a - b).std() if paired else (a.var() + b.var()) ** 0.5
        if deviation >= ACCURACY_RESOLUTION:
            result = stats.ttest_rel(a, b) if paired else stats.ttest_ind(a, b, equal_var=False)
            p_value, (low, high) = result.pvalue, result.confidence_interval(confidence)
        else:
            deviation, degrees = ACCURACY_RESOLUTION, min(seeds) - 1
            error = deviation / min(seeds) ** 0.5
            p_value = 2 * stats.t.sf(abs(difference) / error, degrees)
            low, high = stats.t.interval(confidence, degrees, difference, error)
        test = SeedsTest(
            first=first,
            second=second,
            difference=difference,
            low=float(low),
            high=float(high),
            p_value=float(p_value),
            seeds=seeds,
            method="paired t" if paired else "Welch's t",
            deviation=float(deviation),
        )
        tests.append(test)
    return _adjust_p_values(tests)


def _adjust_p_values(tests: Sequence[Test]) -> list[Test]:
    """Correct the p-values of tests that are made together (Holm 1979)."""
    adjusted = multipletests([test.p_value for test in tests], method="holm")[1] if tests else []
    return [replace(test, adjusted=float(value)) for test, value in zip(tests, adjusted, strict=True)]


def verdict(test: RunTest, significance: float) -> str:
    """Return whether the first run is "better", "worse" or "within noise", with the number of seeds that would decide.

    Args:
        test: Test whose adjusted p-value decides.
        significance: Significance level, 0 to 1, exclusive.
    """
    if test.adjusted < significance:
        return "better" if test.difference > 0 else "worse"
    if not isinstance(test, SeedsTest) or test.difference == 0:
        return "within noise"
    needed = seeds_needed(test.difference, test.deviation, significance * test.p_value / test.adjusted)
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
