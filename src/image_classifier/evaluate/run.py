"""Evaluation of one run from its files."""

import pandas as pd
import yaml
from matplotlib.figure import Figure

from image_classifier.dataset import Examples
from image_classifier.determinism import set_seed_and_threads
from image_classifier.evaluate import plots
from image_classifier.evaluate.metrics import Evaluation, evaluate
from image_classifier.evaluate.saved_model import load_model
from image_classifier.paths import RunFiles


def evaluate_run(files: RunFiles, test: Examples, batch_size: int, seed: int) -> tuple[Evaluation, dict[str, Figure]]:
    """Evaluate the saved model of a run and draw its plots.

    Args:
        files: Files of the run.
        test: Test images.
        batch_size: Images per forward step; decides speed and memory.
        seed: Choice of the images in the plot of predictions.

    Raises:
        FileNotFoundError: The run is not trained.
        InputError: The model cannot be loaded.
    """
    config = yaml.safe_load(files.configuration.read_text())
    set_seed_and_threads(seed, config["training"]["intra_op_threads"])
    evaluation = evaluate(load_model(files.model), config["training"]["loss"], test, batch_size)
    history = pd.read_csv(files.history, index_col="epoch")
    run, probabilities = config["run"], evaluation.probabilities
    title = f"{run}: {evaluation.accuracy:.2%} of {len(test.labels):,} test images right"
    return evaluation, {
        "loss": plots.loss_curves(history, run),
        "accuracy": plots.accuracy_curves(history, run),
        "predictions": plots.predictions(test, probabilities, seed),
        "confusion_matrix": plots.confusion_matrix(test.labels, probabilities.argmax(axis=1), title),
        "mistakes": plots.mistakes(test, probabilities),
    }
