"""Metrics of a trained model on the test images."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from image_classifier.dataset import CLASSES, Examples


@dataclass(frozen=True)
class Evaluation:
    """Predictions of a model for n images, and their metrics.

    Attributes:
        loss: Mean over the images.
        accuracy: Share of the images whose most probable class is their label, 0 to 1.
        class_accuracy: Accuracy on the images of each class, (10,).
        probabilities: float32, (n, 10); each row sums to 1.
    """

    loss: float
    accuracy: float
    class_accuracy: list[float]
    probabilities: np.ndarray

    def metrics(self) -> dict[str, Any]:
        """Return all values except the probabilities as JSON types."""
        return {
            "test_loss": self.loss,
            "test_accuracy": self.accuracy,
            "class_accuracy": {str(label): accuracy for label, accuracy in enumerate(self.class_accuracy)},
        }


def evaluate(model: keras.Model, loss: str, examples: Examples, batch_size: int) -> Evaluation:
    """Evaluate a model.

    Args:
        model: Model from images to class probabilities.
        loss: Name of a Keras loss on one-hot labels.
        examples: Images of every class.
        batch_size: Images per forward step; decides speed and memory.
    """
    labels = examples.labels
    probabilities = model.predict(examples.images, batch_size=batch_size, verbose=0)
    losses = keras.losses.get(loss)(keras.utils.to_categorical(labels, CLASSES), probabilities)
    correct = probabilities.argmax(axis=1) == labels
    return Evaluation(
        loss=float(np.mean(losses, dtype=np.float64)),
        accuracy=float(correct.mean()),
        class_accuracy=[float(correct[labels == label].mean()) for label in range(CLASSES)],
        probabilities=probabilities,
    )
