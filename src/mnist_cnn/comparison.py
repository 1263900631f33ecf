"""Comparison of runs with each other, single or over their seeds."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal, TypeVar

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

RESAMPLES = 2000
RESOLUTION = 1e-4  # of an accuracy on 10,000 images: seeds that differ less do not show that there is no noise
POWER = 0.8  # with which a needed number of seeds would show a difference
LARGEST_EFFECT = 5  # in deviations, needs three seeds; the search for a number does not converge beyond


@dataclass(frozen=True)
class Accuracy:
    """An accuracy on n images with its interval, all 0 to 1."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedTest:
    """Two runs on the same images.

    Attributes:
        difference: accuracy of `first` less accuracy of `second`, -1 to 1.
        only_first: images that only `first` gets right.
        only_second: images that only `second` gets right.
        low: end of the bootstrap interval of the difference.
        high: its other end.
        p_value: of the exact McNemar test: the probability of so uneven a split if both were equally good.
        adjusted: the p-value with Holm's correction for the tests that were made together.
        examples: images.
    """

    first: str
    second: str
    difference: float
    only_first: int
    only_second: int
    low: float
    high: float
    p_value: float
    adjusted: float
    examples: int


@dataclass(frozen=True)
class SeedsTest:
    """Two runs over their seeds.

    Attributes:
        seeds: of each.
        method: Student's paired t test, if both have the same seeds, which are compared one by one; Welch's t test, if
            not; of two seeds of one run, Student's t test with the deviation that its seeds have.
        difference: mean accuracy of `first` less that of `second`, -1 to 1.
        low: end of the interval of the difference.
        high: its other end.
        deviation: standard deviation of the difference of two single runs.
        p_value: the probability of so large a difference if both were equally good.
        adjusted: the p-value with Holm's correction for the tests that were made together.
    """

    first: str
    second: str
    seeds: tuple[int, int]
    method: Literal["paired t", "Welch's t", "t of two seeds"]
    difference: float
    low: float
    high: float
    deviation: float
    p_value: float
    adjusted: float


def accuracy(correct: np.ndarray, confidence: float) -> Accuracy:
    """Return the share of correct images with Wilson's score interval (Wilson 1927).

    Args:
        correct: bool, (n,).
        confidence: 0 to 1, exclusive.
    """
    result = stats.binomtest(int(correct.sum()), len(correct))
    interval = result.proportion_ci(confidence, method="wilson")
    return Accuracy(float(result.statistic), float(interval.low), float(interval.high))


def paired_tests(correct: Mapping[str, np.ndarray], confidence: float) -> list[PairedTest]:
    """Compare every two runs with the exact McNemar test (McNemar 1947; the exact form is a sign test).

    Args:
        correct: for each run bool, (n,), whether it classifies image i of the same n images correctly.
        confidence: of the bootstrap interval (Efron 1979, percentiles), 0 to 1, exclusive.
    """
    tests = []
    for first, second in combinations(correct, 2):
        difference = correct[first].astype(float) - correct[second]
        only_first, only_second = int((difference > 0).sum()), int((difference < 0).sum())
        differing = only_first + only_second
        interval = stats.bootstrap(
            (difference,),
            np.mean,
            n_resamples=RESAMPLES,
            batch=100,
            confidence_level=confidence,
            method="percentile",
            rng=0,
        ).confidence_interval
        tests.append(
            PairedTest(
                first,
                second,
                float(difference.mean()),
                only_first,
                only_second,
                float(interval.low),
                float(interval.high),
                float(stats.binomtest(only_first, differing).pvalue) if differing else 1.0,
                1.0,
                len(difference),
            )
        )
    return _adjusted(tests)


def seeds_tests(accuracies: Mapping[str, pd.Series], confidence: float) -> list[SeedsTest]:
    """Compare every two runs over their seeds.

    Args:
        accuracies: for each run, index seed, two seeds or more.
        confidence: of the intervals, 0 to 1, exclusive.
    """
    tests = []
    for first, second in combinations(accuracies, 2):
        ours, theirs = accuracies[first], accuracies[second]
        paired = ours.index.equals(theirs.index)
        deviation = (ours - theirs).std() if paired else (ours.var() + theirs.var()) ** 0.5
        difference, seeds = float(ours.mean() - theirs.mean()), (len(ours), len(theirs))
        if deviation >= RESOLUTION:
            found = stats.ttest_rel(ours, theirs) if paired else stats.ttest_ind(ours, theirs, equal_var=False)
            interval = found.confidence_interval(confidence)
            p_value, low, high = float(found.pvalue), float(interval.low), float(interval.high)
        else:
            deviation, degrees = RESOLUTION, min(seeds) - 1
            error = deviation / min(seeds) ** 0.5
            half = float(stats.t.ppf((1 + confidence) / 2, degrees)) * error
            p_value = float(2 * stats.t.sf(abs(difference) / error, degrees))
            low, high = difference - half, difference + half
        tests.append(
            SeedsTest(
                first,
                second,
                seeds,
                "paired t" if paired else "Welch's t",
                difference,
                low,
                high,
                float(deviation),
                p_value,
                1.0,
            )
        )
    return _adjusted(tests)


def two_seeds(first: str, second: str, difference: float, accuracies: pd.Series, confidence: float) -> SeedsTest:
    """Test whether two runs, of which only the seed differs, differ more than other seeds do.

    Args:
        first: its name.
        second: its name.
        difference: of their accuracies.
        accuracies: of several seeds, two or more.
        confidence: of the interval, 0 to 1, exclusive.
    """
    seeds = len(accuracies)
    deviation = float(accuracies.std() * 2**0.5)
    half = float(stats.t.ppf((1 + confidence) / 2, seeds - 1)) * deviation
    p_value = float(2 * stats.t.sf(abs(difference) / deviation, seeds - 1)) if deviation else float(difference == 0)
    return SeedsTest(
        first,
        second,
        (seeds, seeds),
        "t of two seeds",
        difference,
        difference - half,
        difference + half,
        deviation,
        p_value,
        p_value,
    )


def verdict(test: PairedTest | SeedsTest, significance: float) -> str:
    """Say whether the first run is better, worse, or within noise; of two runs with seeds, how many would show it.

    Args:
        test: its adjusted p-value decides.
        significance: 0 to 1, exclusive.
    """
    if test.adjusted < significance:
        return "better" if test.difference > 0 else "worse"
    if isinstance(test, PairedTest) or test.method == "t of two seeds" or test.difference == 0:
        return "within noise"
    needed = seeds_needed(test.difference, test.deviation, significance * test.p_value / test.adjusted)
    return f"within noise: about {needed:,} seeds would be needed"


def seeds_needed(difference: float, deviation: float, significance: float) -> int:
    """Estimate how many seeds of each run would show a difference, by the power of the paired t test.

    Args:
        difference: of the means, not 0.
        deviation: standard deviation of the difference of two single runs, above 0.
        significance: 0 to 1, exclusive.
    """
    effect = min(abs(difference) / deviation, LARGEST_EFFECT)
    needed = TTestPower().solve_power(effect, power=POWER, alpha=significance)
    return math.ceil(float(np.max(needed)))


Test = TypeVar("Test", PairedTest, SeedsTest)


def _adjusted(tests: list[Test]) -> list[Test]:
    """Correct the p-values of tests that are made together (Holm 1979)."""
    if not tests:
        return []
    adjusted = multipletests([test.p_value for test in tests], method="holm")[1]
    return [replace(test, adjusted=float(value)) for test, value in zip(tests, adjusted, strict=True)]
