"""Loading of saved models."""

from pathlib import Path

import keras

from image_classifier.errors import InputError


def load_model(path: Path) -> keras.Model:
    """Load a saved model in safe mode, which does not run code that the file contains.

    Raises:
        FileNotFoundError: The file does not exist.
        InputError: The file is not a Keras model.
    """
    path.stat()  # raises FileNotFoundError, where Keras raises a ValueError
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is not a Keras model ({reason}). Make it again: dvc repro") from error
