"""Evaluation of a trained model on the test images."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mnist_cnn.dataset import CLASSES, Examples
from mnist_cnn.errors import InputError


@dataclass(frozen=True)
class Evaluation:
    """What a model says about n images.

    Attributes:
        loss: mean over the images.
        accuracy: share of the images whose most probable class is their label, 0 to 1.
        class_accuracy: the same for the images of each class, (10,).
        probabilities: float32, (n, 10), each row sums to 1.
    """

    loss: float
    accuracy: float
    class_accuracy: list[float]
    probabilities: np.ndarray

    def metrics(self) -> dict[str, Any]:
        """Return everything but the probabilities, as JSON types."""
        return {
            "test_loss": self.loss,
            "test_accuracy": self.accuracy,
            "class_accuracy": {str(label): accuracy for label, accuracy in enumerate(self.class_accuracy)},
        }


def load_model(path: Path) -> keras.Model:
    """Load a saved model without running any code that it carries.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: the file is not a Keras model.
    """
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))  # Keras raises a ValueError
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{path} is not a Keras model ({' '.join(str(error).split())}). Make it again: dvc repro"
        ) from error


def evaluate(model: keras.Model, loss: str, examples: Examples, batch_size: int) -> Evaluation:
    """Evaluate a model.

    Args:
        model: from images to class probabilities.
        loss: the name of a Keras loss on one-hot labels.
        examples: at least one of every class.
        batch_size: images per forward step; decides speed and memory.
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
