"""Evaluation of one run from its files."""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from image_classifier.dataset import Examples, load_for_training
from image_classifier.determinism import set_seed_and_threads
from image_classifier.evaluate import plots
from image_classifier.evaluate.calibration import UNCALIBRATED, describe_calibration, fit_calibration
from image_classifier.evaluate.metrics import evaluate, predict
from image_classifier.evaluate.saved_model import load_model
from image_classifier.files import read_history, read_yaml
from image_classifier.paths import RunFiles, prepared_data

if TYPE_CHECKING:
    from image_classifier.config.schema import Evaluate


def evaluate_run(
    files: RunFiles, test: Examples, settings: "Evaluate"
) -> tuple[dict[str, Any], np.ndarray, dict[str, Any], dict[str, Figure]]:
    """Evaluate the saved model of a run and draw its plots.

    Args:
        files: Files of the run.
        test: Test images.
        settings: Settings of conf/evaluate.yaml.

    Returns:
        Metrics and class probabilities from `evaluate`, the result of `describe_calibration`, and the plots by name.
        The calibration is fitted on the training images that the run has held out. If it has not held out any, its
        temperature and threshold are None: images that a network was trained on do not show how often it errs.

    Raises:
        FileNotFoundError: The run is not trained.
        InputError: A file of the run is damaged.
    """
    run, threads, loss, size, data = read_yaml(
        files.configuration,
        lambda config: (
            str(config["run"]),
            int(config["training"]["intra_op_threads"]),
            str(config["training"]["loss"]),
            config["validation"]["size"],
            str(config["data"]),
        ),
    )
    history = read_history(files.history)
    set_seed_and_threads(settings.seed, threads)
    model = load_model(files.model)
    metrics, probabilities = evaluate(model, loss, test, settings.batch_size)
    fitted = UNCALIBRATED
    if size:
        _, held_out = load_for_training(prepared_data(data), size)
        held_out_probabilities = predict(model, held_out.images, settings.batch_size)
        fitted = fit_calibration(held_out_probabilities, held_out.labels, settings.target_accuracy)
    calibration = describe_calibration(probabilities, test.labels, fitted, settings.target_accuracy, settings.seed)
    title = f"{run}: {metrics['test_accuracy']:.2%} of {len(test):,} test images right"
    validated_on = "held-out" if size else "test"
    figures = {metric: plots.training_curves(history, metric, run, validated_on) for metric in plots.CURVES}
    figures["predictions"] = plots.predictions(test, probabilities, settings.seed)
    figures["confusion_matrix"] = plots.confusion_matrix(test, probabilities, title)
    figures["mistakes"] = plots.mistakes(test, probabilities)
    figures["reliability"] = plots.reliability(probabilities, fitted.temperature, test.labels, run)
    return metrics, probabilities, calibration, figures
