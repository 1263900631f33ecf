"""Statistical tests of the difference between two runs, on the test images and over their seeds."""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

RESAMPLES = 10_000  # number of draws of the bootstrap
CROSSED_RESAMPLES = 2_000  # number of draws of the crossed bootstrap, which gives a standard error and no quantiles
ACCURACY_RESOLUTION = 1e-4  # one of 10,000 images; smallest standard deviation of the accuracies of seeds
POWER = 0.8

RunTest = dict[str, Any]  # JSON types: see `correct_tests`, and `paired_test` or `welch_test`
IntervalFunction = Callable[[float], tuple[float, float]]  # from the level of a confidence interval to its ends


def estimate_accuracy(correct: np.ndarray, confidence: float) -> dict[str, float]:
    """Return the share of correct images as value, and Wilson's score interval (Wilson 1927) as low and high.

    Args:
        correct: Whether each image is classified correctly, bool, (n,).
        confidence: Level of the interval, 0 to 1, exclusive.
    """
    low, high = stats.binomtest(int(correct.sum()), len(correct)).proportion_ci(confidence, method="wilson")
    return {"value": float(correct.mean()), "low": float(low), "high": float(high)}


def paired_tests(correct: Mapping[str, np.ndarray], confidence: float) -> list[RunTest]:
    """Compare every two runs on the same images, see `paired_test` and `correct_tests`.

    Args:
        correct: Whether each run classifies each image correctly, bool, (n,); the same n images for all runs.
        confidence: Level of the intervals, 0 to 1, exclusive.
    """
    tests = [paired_test(first, second, correct[first], correct[second]) for first, second in combinations(correct, 2)]
    return correct_tests(tests, confidence)


def paired_test(first: str, second: str, a: np.ndarray, b: np.ndarray) -> tuple[RunTest, IntervalFunction]:
    """Compare two runs on the same images.

    The p-value is that of the exact McNemar test (McNemar 1947), which is a sign test of the images that only one run
    classifies correctly. The interval is a percentile bootstrap over the images (Efron 1979).

    Args:
        first: Name of the first run.
        second: Name of the second run.
        a: Whether the first run classifies each image correctly, bool, (n,).
        b: The same for the second run and the same n images.

    Returns:
        The keys first, second, difference and p_value, see `correct_tests`, the interval of the difference, and:

        - only_first, only_second: Numbers of images that only the first, or only the second, run classifies correctly.
        - examples: Number of images.
    """
    only_first, only_second, examples = int((a & ~b).sum()), int((b & ~a).sum()), len(a)
    difference = (only_first - only_second) / examples
    p_value = float(mcnemar([[0, only_first], [only_second, 0]], exact=True).pvalue)
    evidence = {"only_first": only_first, "only_second": only_second, "examples": examples}
    test = {"first": first, "second": second, "difference": difference, "p_value": p_value, **evidence}
    return test, partial(_bootstrap_interval, only_first, only_second, examples)


def _bootstrap_interval(only_first: int, only_second: int, examples: int, level: float) -> tuple[float, float]:
    """Return the interval of a paired difference; the numbers of drawn images of each kind are multinomial."""
    shares = np.array([only_first, only_second, examples - only_first - only_second]) / examples
    drawn = np.random.default_rng(0).multinomial(examples, shares, RESAMPLES)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / examples, [(1 - level) / 2, (1 + level) / 2])
    return low, high


def seeds_tests(
    accuracies: Mapping[str, pd.Series], confidence: float, correct: Mapping[str, np.ndarray]
) -> list[RunTest]:
    """Compare the mean accuracies of every two runs over their seeds, see `welch_test` and `correct_tests`.

    Args:
        accuracies: Final accuracies of each run, 0 to 1; index seed, at least two.
        confidence: Level of the intervals, 0 to 1, exclusive.
        correct: Whether each seed classifies each image correctly, bool, (seeds, n); the same n images for all runs.
            Runs whose seeds have no predictions are missing.

    Returns:
        The tests with a further key, `crossed`: the two ends of the `crossed_interval`, at the level of the other
        interval, or None without predictions of both runs.
    """
    samples = {run: values.to_numpy() for run, values in accuracies.items()}
    tests = [welch_test(first, second, samples[first], samples[second]) for first, second in combinations(samples, 2)]
    corrected = correct_tests(tests, confidence)
    for test in corrected:
        first, second = test["first"], test["second"]
        level = 1 - (1 - confidence) / len(tests)
        known = first in correct and second in correct
        test["crossed"] = crossed_interval(correct[first], correct[second], level) if known else None
    return corrected


def welch_test(first: str, second: str, a: np.ndarray, b: np.ndarray) -> tuple[RunTest, IntervalFunction]:
    """Compare the means of two samples with a t test that does not assume equal variances.

    The statistic is Welch's (Welch 1947). The degrees of freedom are the size of the smaller sample minus one, with
    which the test is valid for any variances and sizes (Mickey and Brown 1966); Welch's own approximation rejects too
    often for two or three seeds. The seeds of two runs are treated as independent samples. Runs of one network that
    share a seed start from the same weights; if that makes their accuracies more alike, the test rejects less often.
    Standard deviations below `ACCURACY_RESOLUTION` are raised to it.

    Args:
        first: Name of the first run.
        second: Name of the second run.
        a: Accuracies of the first run, (n,), at least two.
        b: Accuracies of the second run, (m,), at least two.

    Returns:
        The keys first, second, difference and p_value, see `correct_tests`, the interval of the difference, and:

        - seeds: Number of seeds of the first and of the second run.
        - deviation: Standard deviation of a run over its seeds, the root mean square of both runs' values.
    """
    variances = _seed_variances(a, b)
    seeds = np.array([len(a), len(b)])
    mean_variances = variances / seeds  # variances of the two means
    error = mean_variances.sum() ** 0.5
    degrees = seeds.min() - 1
    difference = float(np.mean(a) - np.mean(b))
    p_value = float(2 * stats.t.sf(abs(difference) / error, degrees))
    evidence = {"seeds": seeds.tolist(), "deviation": float(variances.mean() ** 0.5)}
    test = {"first": first, "second": second, "difference": difference, "p_value": p_value, **evidence}
    return test, partial(stats.t.interval, df=degrees, loc=difference, scale=error)


def _seed_variances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the variance of each of two samples of accuracies, at least the square of `ACCURACY_RESOLUTION`."""
    return np.maximum([np.var(a, ddof=1), np.var(b, ddof=1)], ACCURACY_RESOLUTION**2)


def crossed_interval(first: np.ndarray, second: np.ndarray, level: float) -> tuple[float, float]:
    """Return the interval of the difference between two runs for other seeds and other test images of the same kind.

    The variance of the difference is that of `crossed_bootstrap`. Its part over the seeds, which Welch's t test has,
    gets the quantile of Student's t distribution for few seeds, and the rest, which comes from many images, the normal
    quantile. The squares of both half-widths add up to the square of the half-width (Howe 1974). The interval therefore
    contains the one of `welch_test`.

    Args:
        first: Whether each seed of the first run classifies each image correctly, bool, (seeds, n), at least two seeds.
        second: The same for the second run and the same n images.
        level: Level of the interval, 0 to 1, exclusive.
    """
    seeds = np.array([len(first), len(second)])
    accuracies = first.mean(axis=1), second.mean(axis=1)
    variance_of_seeds = float((_seed_variances(*accuracies) / seeds).sum())
    variance_of_images = max(float(crossed_bootstrap(first, second).var()) - variance_of_seeds, 0)
    quantile = (1 + level) / 2
    over_seeds = stats.t.ppf(quantile, seeds.min() - 1) * variance_of_seeds**0.5
    half_width = float(np.hypot(over_seeds, stats.norm.ppf(quantile) * variance_of_images**0.5))
    difference = float(accuracies[0].mean() - accuracies[1].mean())
    return difference - half_width, difference + half_width


def crossed_bootstrap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Draw the seeds of two runs and the test images again, and return the differences, (`CROSSED_RESAMPLES`,).

    This is the pigeonhole bootstrap (Owen 2007): seeds and images are drawn independently of each other. It is
    conservative, because it counts the variance that belongs to a seed and an image together up to three times. One
    seed less than a run has is drawn, which makes the variance over few seeds unbiased (Rao and Wu 1988). Images with
    the same answers of all seeds are drawn as one number, which gives the same distribution.

    Args:
        first: Whether each seed of the first run classifies each image correctly, (seeds, n), at least two seeds.
        second: The same for the second run and the same n images.
    """
    random = np.random.default_rng(0)
    first_weights, second_weights = (
        random.multinomial(len(run) - 1, np.full(len(run), 1 / len(run)), CROSSED_RESAMPLES) / (len(run) - 1)
        for run in (first, second)
    )
    signed = np.hstack([first_weights, -second_weights])  # weights of the seeds in the difference, (draws, seeds)
    patterns, counts = np.unique(np.concatenate([first, second]), axis=1, return_counts=True)
    answers = patterns.T.astype(float)
    num_images = counts.sum()
    shares = counts / num_images
    # One draw at a time, since the counts of all draws can exceed the memory
    drawn = [random.multinomial(num_images, shares) @ answers for _ in signed]
    differences: np.ndarray = (signed * drawn).sum(axis=1) / num_images
    return differences


def correct_tests(tests: Sequence[tuple[RunTest, IntervalFunction]], confidence: float) -> list[RunTest]:
    """Correct tests that are made together: the p-values with Holm's method, the intervals with Bonferroni's.

    Holm's method (Holm 1979) multiplies the smallest of m p-values by m, the next one by m - 1, and so forth.
    Bonferroni's divides the error probability of each interval, 1 - confidence, by m, so that all intervals together
    contain the true differences with the confidence.

    Args:
        tests: Tests with the keys difference and p_value, and their intervals.
        confidence: Level of all intervals together, 0 to 1, exclusive.

    Returns:
        The tests. Their common keys are:

        - first, second: Names of the runs.
        - difference: Accuracy of the first run minus accuracy of the second, -1 to 1.
        - p_value: Probability of a difference at least as large if both runs were equally good.
        - adjusted: P-value with Holm's correction.
        - multiplier: Multiplier of the p-value in Holm's method.
        - low, high: Ends of the interval of the difference.
    """
    if not tests:
        return []
    p_values = [test["p_value"] for test, _ in tests]
    adjusted = multipletests(p_values, method="holm")[1]
    multipliers = len(tests) + 1 - stats.rankdata(p_values, "ordinal")
    corrected = []
    for (test, interval), p_value, multiplier in zip(tests, adjusted, multipliers, strict=True):
        low, high = interval(1 - (1 - confidence) / len(tests))
        values = {"adjusted": float(p_value), "multiplier": int(multiplier), "low": float(low), "high": float(high)}
        corrected.append({**test, **values})
    return corrected


def verdict(test: RunTest, confidence: float, margin: float) -> str:
    """Return the conclusion about the first run.

    It is "better" or "worse" if the corrected p-value is significant. Otherwise the interval is compared with the
    margin: "equal within the margin" if the interval lies within ± margin, "at most the margin worse" (or "better") if
    only its lower (or upper) end does, and "within noise" if neither does.

    Args:
        test: Test from `correct_tests`.
        confidence: Level of the intervals, 0 to 1, exclusive; 1 - confidence is the significance level.
        margin: Difference of the accuracies that does not matter, above 0.
    """
    if test["adjusted"] < 1 - confidence:
        return "better" if test["difference"] > 0 else "worse"
    if -margin < test["low"] and test["high"] < margin:
        return f"equal within {margin:.2%}"
    if -margin < test["low"]:
        return f"at most {margin:.2%} worse"
    if test["high"] < margin:
        return f"at most {margin:.2%} better"
    return "within noise"


def seeds_needed(test: RunTest, confidence: float, margin: float) -> tuple[int, int]:
    """Return how many seeds of each run show a difference as large as the margin with a power of `POWER`.

    The observed difference does not count. The standard deviation over the seeds is uncertain, so the number is an
    interval: the ends belong to the ends of the chi-squared confidence interval of the standard deviation.

    Args:
        test: Test of `seeds_tests`.
        confidence: Level of the interval, 0 to 1, exclusive; 1 - confidence is the significance level, which is divided
            by the multiplier of the test.
        margin: Difference of the accuracies, above 0.
    """
    degrees = sum(test["seeds"]) - 2
    quantiles = stats.chi2.ppf([(1 + confidence) / 2, (1 - confidence) / 2], degrees)
    significance = (1 - confidence) / test["multiplier"]
    low, high = (
        _solve_seeds(margin / deviation, significance) for deviation in test["deviation"] * np.sqrt(degrees / quantiles)
    )
    return low, high


def _solve_seeds(effect: float, significance: float) -> int:
    """Return the smallest number of seeds of each run, at least 2, for an effect in standard deviations of a run."""
    power = partial(TTestPower().power, effect / 2**0.5, alpha=significance)  # the difference has twice the variance
    upper = 2
    while power(nobs=upper) < POWER:
        upper *= 2
    return bisect_left(range(upper + 1), POWER, lo=max(2, upper // 2), key=lambda seeds: power(nobs=seeds))
