"""Metrics of a trained model on the test images."""

from typing import Any

import keras
import numpy as np

from image_classifier.dataset import CLASSES, Examples


def evaluate(model: keras.Model, loss: str, examples: Examples, batch_size: int) -> tuple[dict[str, Any], np.ndarray]:
    """Evaluate a model.

    Args:
        model: Model from images to class probabilities.
        loss: Name of a Keras loss on one-hot labels.
        examples: Images of every class.
        batch_size: Images per forward step; decides speed and memory.

    Returns:
        Metrics as JSON types, and the class probabilities: float32, (n, 10); each row sums to 1. `test_loss` is a mean
        over the images, `test_accuracy` the share of the images whose most probable class is their label, 0 to 1, and
        `class_accuracy` the accuracy on the images of each class.
    """
    labels = examples.labels
    probabilities = model.predict(examples.images, batch_size=batch_size, verbose=0)
    losses = keras.losses.get(loss)(keras.utils.to_categorical(labels, CLASSES), probabilities)
    correct = probabilities.argmax(axis=1) == labels
    metrics = {
        "test_loss": float(np.mean(losses, dtype=np.float64)),
        "test_accuracy": float(correct.mean()),
        "class_accuracy": {str(label): float(correct[labels == label].mean()) for label in range(CLASSES)},
    }
    return metrics, probabilities
