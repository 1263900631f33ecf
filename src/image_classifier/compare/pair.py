"""Comparison of two runs, and its text."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import brier_score_loss

from image_classifier import paths
from image_classifier.compare.environments import MIXED_ENVIRONMENTS
from image_classifier.compare.predictions import correct_images, format_missing
from image_classifier.compare.seeds import describe_selection, final_accuracies, read_replicates, select_replicates
from image_classifier.compare.significance import (
    POWER,
    RunTest,
    correct_tests,
    paired_test,
    seeds_needed,
    seeds_tests,
    verdict,
)

if TYPE_CHECKING:
    from image_classifier.config.schema import Compare


def compare_pair(
    first: str,
    second: str,
    probabilities: Mapping[str, np.ndarray],
    labels: np.ndarray,
    recipes: Mapping[str, str | None],
    config: "Compare",
) -> tuple[list[RunTest], list[str]]:
    """Compare two runs on the test images and, if both have replicates, over their seeds.

    Runs with the same recipe have the same replicates, so they are only compared on the test images.

    Args:
        first: Name of the first run.
        second: Name of the second run.
        probabilities: Class probabilities that each run predicts for the test images, (n, classes).
        labels: Labels of the test images, (n,).
        recipes: Recipe fingerprint of each run, or None if its code differs from the workspace.
        config: Settings of the tests; the significance level is 1 - `confidence`.

    Returns:
        The corrected result of `paired_test` and, if possible, one of `seeds_tests`; and the names of the runs that
        lack replicates for the second one. The tests have further keys:

        - confidence, margin: Settings of the tests.
        - accuracies: Accuracy, or mean accuracy over the seeds, of the first and of the second run.
        - brier_scores: Mean squared distance between the probabilities and the one-hot labels (Brier 1950), 0 to 2, for
          the first and for the second run, of the test on the images.
        - identical: Whether the runs predict the same probabilities, of the test on the images.
        - environments: Environment of the seeds of the first and of the second run, of the test over the seeds.
        - left_out: Number of seeds of both runs in other environments, of the test over the seeds.
        - note: Sentence about seeds without predictions, or "", of the test over the seeds.

    Raises:
        InputError: The file of replicates or of their predictions cannot be read.
    """
    runs = (first, second)
    settings = {"confidence": config.confidence, "margin": config.margin}
    predicted = [probabilities[run] for run in runs]
    correct = [values.argmax(axis=1) == labels for values in predicted]
    identical = bool(np.array_equal(predicted[0], predicted[1]))
    (on_images,) = correct_tests([paired_test(first, second, correct[0], correct[1])], config.confidence)
    on_images |= {
        **settings,
        "accuracies": [float(values.mean()) for values in correct],
        "brier_scores": [
            float(brier_score_loss(labels, values, labels=range(values.shape[1]), scale_by_half=False))
            for values in predicted
        ],
        "identical": identical,
    }
    if identical or recipes[first] == recipes[second]:
        return [on_images], []
    recorded = read_replicates(paths.REPLICATES)
    replicates = select_replicates(recorded, recipes)
    if missing := [run for run in runs if run not in replicates]:
        return [on_images], missing
    selection = describe_selection(recorded, recipes, replicates)
    accuracies = {run: final_accuracies(replicates[run]) for run in runs}
    correct_by_seed = correct_images(replicates, paths.REPLICATES_PREDICTIONS, labels)
    (over_seeds,) = seeds_tests(accuracies, config.confidence, correct_by_seed)
    over_seeds |= {
        **settings,
        "accuracies": [float(values.mean()) for values in accuracies.values()],
        "environments": [selection[run]["environment"] for run in runs],
        "left_out": sum(sum(selection[run]["left_out"].values()) for run in runs),
        "note": format_missing({run: replicates[run] for run in runs}, correct_by_seed),
    }
    return [on_images, over_seeds], []


def format_pair(tests: Sequence[RunTest], missing: Collection[str] = (), rows: Collection[str] = ()) -> str:
    """Return a comparison as text.

    Args:
        tests: Tests of `compare_pair`.
        missing: Names of the runs that lack replicates, from `compare_pair`.
        rows: Rows of params.yaml, which can be replicated.
    """
    test = tests[0]
    if test["identical"]:
        images = f"the same probabilities for all {test['examples']:,} test images"
        return f"{test['first']} and {test['second']} are identical: {images}."
    lines = [_format_test(test) for test in tests]
    if missing and set(missing) <= set(rows):
        lines.append(f"To compare them over the seeds as well: image-classifier replicate {' '.join(missing)}")
    return "\n".join(lines)


def _format_test(test: RunTest) -> str:
    """Return a test as text: the mean values of two runs, their difference, the test, and the conclusion."""
    first, second = test["first"], test["second"]
    if "seeds" in test:
        basis, scope = "Over the seeds", ""
        evidence = "{} and {} seeds; Welch's t test".format(*test["seeds"])
        further = _format_seeds(test)
    else:
        basis, scope = f"On {test['examples']:,} test images", " on these images"
        counts = f"{test['only_first']} images correct only in {first}, {test['only_second']} only in {second}"
        evidence = f"{counts}; exact McNemar test"
        further = []
    accuracies = [f"{accuracy:.2%}" for accuracy in test["accuracies"]]
    return "\n  ".join(
        [
            f"{basis}: {first} {accuracies[0]}, {second} {accuracies[1]}",
            f"difference {test['difference']:+.2%}, "
            f"{100 * test['confidence']:g}% interval {test['low']:+.2%} to {test['high']:+.2%}",
            f"{evidence}: p = {test['p_value']:.2g}",
            *further,
            _conclude(test, scope),
        ]
    )


def _format_seeds(test: RunTest) -> list[str]:
    """Return lines on the environments of the seeds and on the interval for other images; older records have none."""
    lines = []
    if environments := list(dict.fromkeys(test.get("environments", []))):
        left_out = f"; {test['left_out']} seeds of other environments are left out" if test["left_out"] else ""
        lines.append(f"environment of the seeds: {' and '.join(environments)}{left_out}")
        if len(environments) > 1:
            lines.append(MIXED_ENVIRONMENTS)
    if crossed := test.get("crossed"):
        low, high = crossed
        level = f"{100 * test['confidence']:g}% interval"
        lines.append(f"for other seeds and other test images: {level} {low:+.2%} to {high:+.2%} (crossed bootstrap)")
    elif note := test.get("note"):
        lines.append(note)
    return lines


def _conclude(test: RunTest, scope: str) -> str:
    """Return the verdict of a test as a sentence."""
    confidence, margin = test["confidence"], test["margin"]
    result = verdict(test, confidence, margin)
    if result.startswith("equal"):
        return f"{test['first']} and {test['second']} are {result}{scope}."
    if result != "within noise":
        return f"{test['first']} is {result} than {test['second']}{scope}."
    if "seeds" not in test:
        return "The difference is within noise."
    least, most = seeds_needed(test, confidence, margin)
    needed = f"A difference of {margin:.2%} takes {least:,} to {most:,} seeds of each run (power {POWER:.0%})"
    return f"The difference is within noise. {needed}."
