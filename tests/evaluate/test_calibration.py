"""Measures of probabilities whose calibration is known."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import log_loss

from image_classifier.errors import InputError
from image_classifier.evaluate.calibration import (
    BINS,
    NEVER,
    UNCALIBRATED,
    Calibration,
    apply_temperature,
    calibration_error,
    calibration_interval,
    coverage,
    describe_calibration,
    describe_probabilities,
    fit_calibration,
    fit_temperature,
    read_calibration,
)

TEST_MEASURES = {
    "test_negative_log_likelihood",
    "test_brier_score",
    "test_calibration_error",
    "test_calibration_error_low",
    "test_calibration_error_high",
    "test_coverage",
    "test_coverage_threshold",
}


def calibrated(count: int, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return random class probabilities and labels that are drawn from them."""
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.full(classes, 0.4), count)
    labels = (probabilities.cumsum(axis=1) > generator.random((count, 1))).argmax(axis=1)
    return probabilities, labels


def test_the_calibration_error_is_the_mean_distance_of_accuracy_and_confidence_over_the_images() -> None:
    confidences = np.repeat([0.55, 0.95], [10, 30])
    correct = np.repeat([True, False, True, False], [8, 2, 27, 3])  # 80% and 90%
    assert calibration_error(confidences, correct) == pytest.approx((10 * 0.25 + 30 * 0.05) / 40)


def test_gaps_of_opposite_signs_cancel_out_within_a_bin_alone() -> None:
    correct = np.repeat([True, False], 10)
    assert calibration_error(np.full(20, 0.5), correct) == 0
    assert calibration_error(np.repeat([0.5 - 1 / BINS, 0.5], 10), correct) == pytest.approx(0.5 + 1 / BINS / 2)


def test_a_probability_of_1_belongs_to_the_last_bin() -> None:
    assert calibration_error(np.ones(4), np.array([True, True, True, False])) == 0.25


@pytest.mark.parametrize(("accuracy", "error"), [(0.75, 0.0), (0.6, 0.15), (0.9, 0.15)])
def test_the_interval_of_the_calibration_error_has_the_true_value(accuracy: float, error: float) -> None:
    generator = np.random.default_rng(1)
    correct = generator.random(2000) < accuracy
    low, high = calibration_interval(np.full(2000, 0.75), correct, seed=0)
    assert low <= error <= high
    assert high - low < 0.1
    assert (low > 0) == (error > 0)


def test_calibrated_probabilities_have_an_error_near_0_and_an_interval_with_0() -> None:
    measures = describe_probabilities(*calibrated(2000), target_accuracy=0.9, seed=0)
    assert measures["calibration_error"] < 0.04
    assert measures["calibration_error_low"] == 0
    assert measures["calibration_error_high"] < 0.08


def test_log_likelihood_and_brier_score_are_those_of_the_true_classes() -> None:
    probabilities = np.array([[0.5, 0.5, 0.0], [0.25, 0.0, 0.75]])
    measures = describe_probabilities(probabilities, np.array([0, 0]), target_accuracy=0.9, seed=0)
    assert measures["negative_log_likelihood"] == pytest.approx(np.log([2, 4]).mean())
    assert measures["brier_score"] == pytest.approx((0.5 + 2 * 0.75**2) / 2)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_of_distorted_probabilities_is_found(temperature: float) -> None:
    probabilities, labels = calibrated(5000)
    fitted = fit_temperature(apply_temperature(probabilities, temperature), labels)  # which undoes the distortion
    assert fitted == pytest.approx(1 / temperature, rel=0.06)
    losses = [
        log_loss(labels, apply_temperature(probabilities, temperature * fitted * step)) for step in (0.97, 1, 1.03)
    ]
    assert losses[1] == min(losses)


@pytest.mark.parametrize("temperature", [0.05, 0.7, 20.0])
def test_a_temperature_never_changes_the_answer(temperature: float) -> None:
    probabilities = np.concatenate([calibrated(2000)[0], [[0.5, 0.5, 0, 0], [0, 0.5, 0, 0.5], [1, 0, 0, 0]]])
    probabilities = probabilities.astype(np.float32)
    scaled = apply_temperature(probabilities, temperature)
    np.testing.assert_array_equal(scaled.argmax(axis=1), probabilities.argmax(axis=1))
    np.testing.assert_allclose(scaled.sum(axis=1), 1)


def test_without_an_error_the_temperature_is_1() -> None:
    probabilities, _ = calibrated(50)
    assert fit_temperature(probabilities, probabilities.argmax(axis=1)) == 1


def test_the_coverage_is_the_largest_share_with_the_accuracy() -> None:
    confidences = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    correct = np.array([True, False, True, True, False])
    assert coverage(confidences, correct, 0.75) == (0.8, 0.6)
    assert coverage(confidences, correct, 1.0) == (0.2, 0.9)
    assert coverage(confidences, correct, 0.5) == (1.0, 0.5)


def test_answers_of_the_same_confidence_are_given_or_withheld_together() -> None:
    assert coverage(np.array([0.9, 0.8, 0.8]), np.array([True, True, False]), 0.9) == (1 / 3, 0.9)


@pytest.mark.parametrize("correct", [[False, True], [False, False]])
def test_a_model_whose_most_confident_answer_is_wrong_is_never_sure(correct: list[bool]) -> None:
    share, threshold = coverage(np.array([1.0, 0.5]), np.array(correct), 0.9)
    assert (share, threshold) == (0, NEVER)
    assert not np.any(Calibration(1.0, threshold).is_sure(np.eye(3)))


def test_the_fitted_threshold_gives_the_accuracy_on_the_images_of_the_fit() -> None:
    probabilities, labels = calibrated(2000)
    calibration = fit_calibration(apply_temperature(probabilities, 0.5), labels, 0.95)
    scaled = calibration.apply(apply_temperature(probabilities, 0.5))
    sure = calibration.is_sure(scaled)
    assert sure is not None
    assert 0.1 < sure.mean() < 0.9
    assert (scaled.argmax(axis=1) == labels)[sure].mean() >= 0.95


def test_probabilities_without_a_temperature_keep_their_bits() -> None:
    probabilities = calibrated(3)[0].astype(np.float32)
    assert UNCALIBRATED.apply(probabilities) is probabilities
    assert UNCALIBRATED.is_sure(probabilities) is None


def test_a_run_without_held_out_images_has_measures_and_no_values_for_predict() -> None:
    described = describe_calibration(*calibrated(100), UNCALIBRATED, 0.9, 0)
    assert (described.pop("target_accuracy"), described.pop("temperature"), described.pop("threshold")) == (
        0.9,
        None,
        None,
    )
    assert described.keys() == TEST_MEASURES


def test_a_run_with_held_out_images_has_measures_of_its_answers() -> None:
    probabilities, labels = calibrated(1000)
    described = describe_calibration(apply_temperature(probabilities, 0.5), labels, Calibration(2.0, 0.8), 0.9, 0)
    assert described["calibrated_test_brier_score"] < described["test_brier_score"]
    sure = probabilities.max(axis=1) >= 0.8
    assert described["answered"] == pytest.approx(sure.mean(), abs=0.01)
    assert described["answered_accuracy"] == pytest.approx(
        (probabilities.argmax(axis=1) == labels)[sure].mean(), abs=0.01
    )
    assert json.loads(json.dumps(described)) == described


def test_a_run_that_is_never_sure_has_no_accuracy_of_its_answers() -> None:
    described = describe_calibration(*calibrated(10), Calibration(1.0, NEVER), 0.9, 0)
    assert (described["answered"], described["answered_accuracy"]) == (0, None)


def test_an_older_result_without_the_file_has_no_calibration(tmp_path: Path) -> None:
    assert read_calibration(tmp_path / "calibration.json") == UNCALIBRATED


def test_the_values_for_predict_are_read(tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    file.write_text(json.dumps({"target_accuracy": 0.9, "temperature": 1.5, "threshold": None}))
    assert read_calibration(file) == Calibration(1.5, None)
    file.write_text("{}")
    with pytest.raises(InputError, match=r"calibration\.json is damaged"):
        read_calibration(file)
