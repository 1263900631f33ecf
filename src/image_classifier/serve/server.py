"""The HTTP server of the promoted model."""

import os
import sys
from typing import NoReturn

from image_classifier.config.compose import load_tracking
from image_classifier.errors import InputError
from image_classifier.track.registry import find_version
from image_classifier.track.store import Store


def serve(port: int) -> NoReturn:
    """Replace this process by MLflow's server of the promoted model, which only this machine can reach.

    Args:
        port: Port on 127.0.0.1.

    Raises:
        InputError: No model is promoted, or the tracking store cannot be reached.
    """
    tracking = load_tracking()
    store = Store(tracking.experiment)
    model = f"{tracking.registered_model}@{tracking.alias}"
    if find_version(store, tracking.registered_model, tracking.alias) is None:
        raise InputError(f"There is no {model} yet. Choose a run: image-classifier promote RUN")
    command = ["mlflow", "models", "serve", "--model-uri", f"models:/{model}", "--env-manager", "local"]
    address = ["--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": store.uri}
    os.execve(sys.executable, [sys.executable, "-m", *command, *address], environment)
