import numpy as np
import pytest

from image_classifier.error_browser.mistakes import find_mistakes

LABELS = np.array([0, 1, 1, 0])
A = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.2, 0.8]])  # wrong in 1 and 3
B = np.array([[0.9, 0.1], [0.1, 0.9], [0.7, 0.3], [0.4, 0.6]])  # wrong in 2 and 3


def test_images_that_some_run_gets_wrong_are_found_and_those_of_most_runs_come_first() -> None:
    mistakes = find_mistakes(LABELS, {"a": A, "b": B})
    assert mistakes.indexes.tolist() == [3, 2, 1]  # in 2 the runs give the true class 0.45 on average, in 1 0.55
    assert mistakes.labels.tolist() == [0, 1, 1]
    np.testing.assert_array_equal(mistakes.probabilities["b"], B[[3, 2, 1]])


def test_accuracies_are_those_on_all_test_images() -> None:
    mistakes = find_mistakes(LABELS, {"a": A, "b": B})
    assert mistakes.accuracies == pytest.approx({"a": 0.5, "b": 0.5})
    assert mistakes.num_tests == len(LABELS)


def test_runs_without_mistakes_give_no_images() -> None:
    assert len(find_mistakes(np.array([0, 1]), {"a": A[[0, 2]]}).indexes) == 0
