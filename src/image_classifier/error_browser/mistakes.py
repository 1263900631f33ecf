"""Collection of the test images that at least one run classifies wrongly."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mistakes:
    """Test images that at least one run classifies wrongly.

    Attributes:
        indexes: Positions in the test images, (n,): the images that most runs classify wrongly first, then those with
            the least probability of the true class.
        labels: True classes, (n,).
        probabilities: Class probabilities of each run, float32, (n, classes).
        accuracies: Test accuracy of each run on all test images, 0 to 1.
        num_tests: Number of test images.
    """

    indexes: np.ndarray
    labels: np.ndarray
    probabilities: dict[str, np.ndarray]
    accuracies: dict[str, float]
    num_tests: int


def find_mistakes(labels: np.ndarray, probabilities: Mapping[str, np.ndarray]) -> Mistakes:
    """Collect the mistakes of all runs.

    Args:
        labels: True classes of the test images, (n,).
        probabilities: Class probabilities that each run predicts, (n, classes).
    """
    wrong = np.stack([of_run.argmax(axis=1) != labels for of_run in probabilities.values()])
    of_label = np.mean([of_run[np.arange(len(labels)), labels] for of_run in probabilities.values()], axis=0)
    num_wrong = wrong.sum(axis=0)
    indexes = np.lexsort((of_label, -num_wrong))[: np.count_nonzero(num_wrong)]
    return Mistakes(
        indexes,
        labels[indexes],
        {run: of_run[indexes] for run, of_run in probabilities.items()},
        {run: 1 - float(of_run.mean()) for run, of_run in zip(probabilities, wrong, strict=True)},
        len(labels),
    )
