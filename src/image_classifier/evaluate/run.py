"""Evaluation of one run from its files."""

from typing import Any

import numpy as np
import yaml
from matplotlib.figure import Figure

from image_classifier.dataset import Examples
from image_classifier.determinism import set_seed_and_threads
from image_classifier.evaluate import plots
from image_classifier.evaluate.metrics import evaluate
from image_classifier.evaluate.saved_model import load_model
from image_classifier.files import damage_named, read_history
from image_classifier.paths import RunFiles


def evaluate_run(
    files: RunFiles, test: Examples, batch_size: int, seed: int
) -> tuple[dict[str, Any], np.ndarray, dict[str, Figure]]:
    """Evaluate the saved model of a run and draw its plots.

    Args:
        files: Files of the run.
        test: Test images.
        batch_size: Images per forward step; decides speed and memory.
        seed: Choice of the images in the plot of predictions.

    Returns:
        Metrics and class probabilities from `evaluate`, and the plots by name.

    Raises:
        FileNotFoundError: The run is not trained.
        InputError: A file of the run is damaged.
    """
    with damage_named(files.configuration):
        config = yaml.safe_load(files.configuration.read_bytes())
        run, threads, loss = config["run"], config["training"]["intra_op_threads"], config["training"]["loss"]
        images = "held-out" if config["validation"]["size"] else "test"
    history = read_history(files.history)
    set_seed_and_threads(seed, threads)
    metrics, probabilities = evaluate(load_model(files.model), loss, test, batch_size)
    title = f"{run}: {metrics['test_accuracy']:.2%} of {len(test):,} test images right"
    figures = {metric: plots.training_curves(history, metric, run, images) for metric in plots.CURVES}
    figures["predictions"] = plots.predictions(test, probabilities, seed)
    figures["confusion_matrix"] = plots.confusion_matrix(test, probabilities, title)
    figures["mistakes"] = plots.mistakes(test, probabilities)
    return metrics, probabilities, figures
