"""Comparison of two runs as text."""

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from image_classifier import paths
from image_classifier.compare.seeds import final_accuracies, read_replicates, select_replicates
from image_classifier.compare.significance import POWER, RunTest, paired_tests, seeds_needed, seeds_tests, verdict


def compare_pair(
    first: str,
    second: str,
    probabilities: Mapping[str, np.ndarray],
    labels: np.ndarray,
    recipes: Mapping[str, str | None],
    rows: Collection[str],
    confidence: float,
    margin: float,
) -> str:
    """Compare two runs on the test images and, if both have replicates, over their seeds.

    Runs with the same recipe have the same replicates, so they are only compared on the test images.

    Args:
        first: Name of the first run.
        second: Name of the second run.
        probabilities: Class probabilities that each run predicts for the test images, (n, 10).
        labels: Labels of the test images, (n,).
        recipes: Recipe fingerprint of each run, or None if its code differs from the workspace.
        rows: Rows of params.yaml, which can be replicated.
        confidence: Level of the intervals, 0 to 1, exclusive; tests use the significance level 1 - confidence.
        margin: Difference of the accuracies that does not matter, above 0; see `verdict`.

    Raises:
        InputError: The file of replicates cannot be read.
    """
    if np.array_equal(probabilities[first], probabilities[second]):
        return f"{first} and {second} are identical: the same probabilities for all {len(labels):,} test images."
    correct = {run: probabilities[run].argmax(axis=1) == labels for run in (first, second)}
    (on_images,) = paired_tests(correct, confidence)
    text = _format_test(on_images, correct, confidence, margin)
    replicates = select_replicates(read_replicates(paths.REPLICATES), recipes)
    missing = [run for run in (first, second) if run not in replicates]
    if recipes[first] == recipes[second] or not set(missing) <= set(rows):
        return text
    if missing:
        return f"{text}\nTo compare them over the seeds as well: image-classifier replicate {' '.join(missing)}"
    accuracies = {run: final_accuracies(replicates[run]) for run in (first, second)}
    (over_seeds,) = seeds_tests(accuracies, confidence)
    return f"{text}\n{_format_test(over_seeds, accuracies, confidence, margin)}"


def _format_test(test: RunTest, values: Mapping[str, np.ndarray | pd.Series], confidence: float, margin: float) -> str:
    """Return a test as text: the mean values of two runs, their difference, the test, and the conclusion."""
    first, second = test["first"], test["second"]
    if "seeds" in test:
        basis, scope = "Over the seeds", ""
        evidence = "{} and {} seeds; Welch's t test".format(*test["seeds"])
    else:
        basis, scope = f"On {test['examples']:,} test images", " on these images"
        counts = f"{test['only_first']} images correct only in the first run, {test['only_second']} only in the second"
        evidence = f"{counts}; exact McNemar test"
    result = verdict(test, confidence, margin)
    conclusion = f"{first} is {result} than {second}{scope}."
    if result.startswith("equal"):
        conclusion = f"{first} and {second} are {result}{scope}."
    elif result == "within noise":
        conclusion = f"The difference is {result}."
        if "seeds" in test:
            least, most = seeds_needed(test, confidence, margin)
            conclusion += (
                f" A difference of {margin:.2%} takes {least:,} to {most:,} seeds of each run (power {POWER:.0%})."
            )
    return (
        f"{basis}: {first} {values[first].mean():.2%}, {second} {values[second].mean():.2%}\n"
        f"  difference {test['difference']:+.2%}, "
        f"{100 * confidence:g}% interval {test['low']:+.2%} to {test['high']:+.2%}\n"
        f"  {evidence}: p = {test['p_value']:.2g}\n"
        f"  {conclusion}"
    )
