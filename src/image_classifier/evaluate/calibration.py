"""Calibration of predicted probabilities, and the confidence threshold below which a model is not sure.

Confidence is the probability of the predicted class.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from sklearn.metrics import brier_score_loss, log_loss, precision_recall_curve

from image_classifier.files import read_json

# Number of bins of equal width between 0 and 1, as in Guo et al. (2017). A value on an edge belongs to the upper bin.
BINS = 15
LEVEL = 0.95  # confidence level of the interval of the calibration error
RESAMPLES = 1000  # number of draws of its bootstrap
TEMPERATURES = (0.05, 20.0)  # range of the search
NEVER = float(np.nextafter(1, 2))  # a threshold above every probability


@dataclass(frozen=True)
class Calibration:
    """The values that `predict` and the page of the server apply to the probabilities of a model.

    Attributes:
        temperature: Divisor of the logarithms of the probabilities; None changes no probability.
        threshold: Confidence, after the temperature, below which the model is not sure; None stands for a model whose
            answers are all given.
    """

    temperature: float | None = None
    threshold: float | None = None

    def apply(self, probabilities: np.ndarray) -> np.ndarray:
        """Return probabilities, (n, classes), after the temperature."""
        return probabilities if self.temperature is None else apply_temperature(probabilities, self.temperature)

    def is_sure(self, probabilities: np.ndarray) -> np.ndarray | None:
        """Return whether the model is sure of each answer, (n,), or None without a threshold.

        Args:
            probabilities: Result of `apply`, (n, classes).
        """
        if self.threshold is None:
            return None
        sure: np.ndarray = probabilities.max(axis=1) >= self.threshold
        return sure


UNCALIBRATED = Calibration()


def read_calibration(path: Path) -> Calibration:
    """Read the values for `predict` from calibration.json, which results of older versions of the project do not have.

    Raises:
        InputError: The file is damaged.
    """
    if not path.exists():
        return UNCALIBRATED
    return read_json(path, lambda values: Calibration(values["temperature"], values["threshold"]))


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Divide the logits by a temperature (Guo et al. 2017), which never changes the most probable class.

    A softmax of logits that are divided by T equals a softmax of the logarithms of the probabilities, divided by T.

    Args:
        probabilities: Class probabilities, (n, classes).
        temperature: Above 0; above 1 the probabilities become more equal, below 1 less.

    Returns:
        Class probabilities, float64, (n, classes); each row sums to 1.
    """
    smallest = np.finfo(np.float32).tiny
    logarithms = np.log(np.maximum(probabilities.astype(np.float64), smallest))
    scaled: np.ndarray = softmax(logarithms / temperature, axis=1)
    return scaled


def fit_calibration(probabilities: np.ndarray, labels: np.ndarray, target_accuracy: float) -> Calibration:
    """Fit the temperature and the threshold on images that are neither training nor test images.

    Args:
        probabilities: Class probabilities that the model predicts, (n, classes).
        labels: Labels, (n,).
        target_accuracy: Accuracy of the answers of which the model is sure, above 0, at most 1.
    """
    temperature = fit_temperature(probabilities, labels)
    confidences, correct = confidence_and_correctness(apply_temperature(probabilities, temperature), labels)
    _, threshold = coverage(confidences, correct, target_accuracy)
    return Calibration(temperature, threshold)


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature with the lowest negative log likelihood (Guo et al. 2017).

    It is 1 if all predictions are correct: the likelihood would then favour ever lower temperatures.

    Args:
        probabilities: Class probabilities, (n, classes).
        labels: Labels, (n,).
    """
    classes = range(probabilities.shape[1])
    if confidence_and_correctness(probabilities, labels)[1].all():
        return 1.0
    search = minimize_scalar(
        lambda logarithm: log_loss(labels, apply_temperature(probabilities, np.exp(logarithm)), labels=classes),
        bounds=np.log(TEMPERATURES),
        method="bounded",
    )
    return float(np.exp(search.x))


def confidence_and_correctness(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the confidence of each prediction, 0 to 1, and whether it is correct; both (n,)."""
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == labels


def coverage(confidences: np.ndarray, correct: np.ndarray, target_accuracy: float) -> tuple[float, float]:
    """Return the largest share of images that can be answered with an accuracy, most confident first, and a threshold.

    An answer is given if its confidence is at least the threshold (selective classification, El-Yaniv and Wiener 2010).
    The accuracy of these answers is the precision of the confidence as a score for being correct.

    Args:
        confidences: Confidence of each answer, (n,).
        correct: Whether each answer is correct, (n,).
        target_accuracy: Least accuracy of the answers that are given, above 0, at most 1.

    Returns:
        Share, 0 to 1, and threshold, which is `NEVER` if no share has the accuracy.
    """
    if not correct.any():
        return 0.0, NEVER
    accuracies, _, thresholds = precision_recall_curve(correct, confidences)
    threshold = float(min(thresholds[accuracies[:-1] >= target_accuracy], default=NEVER))
    return float((confidences >= threshold).mean()), threshold


def calibration_error(confidences: np.ndarray, correct: np.ndarray) -> float:
    """Return the expected calibration error, 0 to 1 (Naeini et al. 2015), in `BINS` bins of equal width.

    It is the mean over the images of the distance between the accuracy and the mean confidence of an image's bin.

    Args:
        confidences: Confidence of each answer, (n,).
        correct: Whether each answer is correct, (n,).
    """
    return float(np.abs(_gaps(find_bins(confidences), correct - confidences)).sum())


def find_bins(confidences: np.ndarray) -> np.ndarray:
    """Return the bin of each confidence, 0 to `BINS` - 1."""
    bins: np.ndarray = np.minimum((confidences * BINS).astype(int), BINS - 1)
    return bins


def _gaps(bins: np.ndarray, differences: np.ndarray) -> np.ndarray:
    """Return accuracy minus mean confidence of each bin, times the share of the images in it."""
    return np.bincount(bins, differences, BINS) / len(bins)


def calibration_interval(confidences: np.ndarray, correct: np.ndarray, seed: int) -> tuple[float, float]:
    """Return a 95% interval of the calibration error, from a bootstrap over the images.

    The noise of the gaps makes the calibration error larger, most of all that of a calibrated model, so that the usual
    bootstrap intervals lie too high and miss the true value 0. This interval bounds the noise instead: the true error
    differs from the measured one by at most the sum of the distances between the true and the measured gaps (triangle
    inequality), and the bootstrap estimates the 95% quantile of this sum. It covers the true value in at least 95% of
    the cases, up to the error of the bootstrap.

    Args:
        confidences: Confidence of each answer, (n,).
        correct: Whether each answer is correct, (n,).
        seed: Choice of the bootstrap samples.
    """
    bins, differences = find_bins(confidences), correct - confidences
    gaps = _gaps(bins, differences)
    generator, images = np.random.default_rng(seed), len(bins)
    samples = (generator.integers(images, size=images) for _ in range(RESAMPLES))
    distances = [np.abs(_gaps(bins[sample], differences[sample]) - gaps).sum() for sample in samples]
    error, noise = float(np.abs(gaps).sum()), float(np.quantile(distances, LEVEL))
    return max(0.0, error - noise), min(1.0, error + noise)


def describe_probabilities(
    probabilities: np.ndarray, labels: np.ndarray, target_accuracy: float, seed: int
) -> dict[str, float]:
    """Return measures of class probabilities.

    Args:
        probabilities: Class probabilities, (n, classes).
        labels: Labels, (n,).
        target_accuracy: See `coverage`.
        seed: Choice of the bootstrap samples.

    Returns:
        - negative_log_likelihood: Mean of -log(probability of the true class), with the natural logarithm.
        - brier_score: Mean squared distance between the probabilities and the one-hot labels (Brier 1950), 0 to 2.
        - calibration_error: See `calibration_error`.
        - calibration_error_low, calibration_error_high: See `calibration_interval`.
        - coverage, coverage_threshold: See `coverage`.
    """
    probabilities, classes = apply_temperature(probabilities, 1), range(probabilities.shape[1])
    confidences, correct = confidence_and_correctness(probabilities, labels)
    low, high = calibration_interval(confidences, correct, seed)
    share, threshold = coverage(confidences, correct, target_accuracy)
    return {
        "negative_log_likelihood": float(log_loss(labels, probabilities, labels=classes)),
        "brier_score": float(brier_score_loss(labels, probabilities, labels=classes, scale_by_half=False)),
        "calibration_error": calibration_error(confidences, correct),
        "calibration_error_low": low,
        "calibration_error_high": high,
        "coverage": share,
        "coverage_threshold": threshold,
    }


def describe_calibration(
    probabilities: np.ndarray, labels: np.ndarray, calibration: Calibration, target_accuracy: float, seed: int
) -> dict[str, Any]:
    """Return the contents of calibration.json: the values for `predict`, and measures on the test images.

    Args:
        probabilities: Class probabilities that the model predicts for the test images, (n, classes).
        labels: Labels of the test images, (n,).
        calibration: Values that were fitted on held-out images, or None for both.
        target_accuracy: See `coverage`.
        seed: Choice of the bootstrap samples.

    Returns:
        - target_accuracy, temperature, threshold: The arguments.
        - test_*: Result of `describe_probabilities` for the model's own probabilities.
        - calibrated_test_*: The same measures after the temperature; only with a temperature.
        - answered, answered_accuracy: Share of the test images whose answers the model is sure of, and accuracy of
          these answers, which is None without such answers; only with a threshold.
    """
    described = {"target_accuracy": target_accuracy, **asdict(calibration)}
    scaled = calibration.apply(probabilities)
    versions = {"test": probabilities}
    if calibration.temperature is not None:
        versions["calibrated_test"] = scaled
    for prefix, values in versions.items():
        measures = describe_probabilities(values, labels, target_accuracy, seed)
        described |= {f"{prefix}_{name}": value for name, value in measures.items()}
    sure = calibration.is_sure(scaled)
    if sure is not None:
        correct = confidence_and_correctness(scaled, labels)[1][sure]
        described |= {
            "answered": float(sure.mean()),
            "answered_accuracy": float(correct.mean()) if sure.any() else None,
        }
    return described
