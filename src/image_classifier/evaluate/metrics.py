"""Metrics of a trained model on the test images."""

from typing import Any

import keras
import numpy as np

from image_classifier.dataset import Examples, scale_pixels


def evaluate(model: keras.Model, loss: str, examples: Examples, batch_size: int) -> tuple[dict[str, Any], np.ndarray]:
    """Evaluate a model.

    Args:
        model: Model from images to class probabilities.
        loss: Name of a Keras loss on one-hot labels.
        examples: Images of every class.
        batch_size: Images per forward step; decides speed and memory.

    Returns:
        Metrics as JSON types, and the class probabilities: float32, (n, classes); each row sums to 1. `test_loss` is a
        mean over the images, and `test_accuracy` the share of the images whose most probable class is their label, 0
        to 1.
    """
    probabilities = predict(model, examples.images, batch_size)
    targets = keras.utils.to_categorical(examples.labels, len(examples.classes))
    losses = keras.losses.get(loss)(targets, probabilities)
    metrics = {
        "test_loss": float(np.mean(losses, dtype=np.float64)),
        "test_accuracy": float((probabilities.argmax(axis=1) == examples.labels).mean()),
    }
    return metrics, probabilities


def predict(model: keras.Model, images: np.ndarray, batch_size: int) -> np.ndarray:
    """Return the class probabilities that a model predicts: float32, (n, classes).

    Args:
        model: Model from images to class probabilities.
        images: uint8, (n, height, width, channels), 0…255; read in batches.
        batch_size: Images per forward step; decides speed and memory.
    """
    batches = (images[first : first + batch_size] for first in range(0, len(images), batch_size))
    return np.concatenate([model.predict_on_batch(scale_pixels(batch)) for batch in batches])
