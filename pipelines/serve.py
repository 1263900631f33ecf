"""Serve the promoted model over HTTP, to this machine only."""

import os
import sys

from mnist_cnn import schema
from mnist_cnn.errors import InputError
from pipelines.command import command, heavy_imports


@command("serve", schema.Serve)
def main(config: schema.Serve) -> None:
    with heavy_imports():
        from mnist_cnn.tracking import registry
        from mnist_cnn.tracking.store import Store

    tracking = config.tracking
    store = Store(tracking.experiment)
    name = f"{tracking.registered_model}@{tracking.alias}"
    if registry.aliased(store, tracking.registered_model, tracking.alias) is None:
        raise InputError(f"There is no {name} yet. Choose a run: python -m pipelines.promote run=…")
    serve = ("models", "serve", "--model-uri", f"models:/{name}", "--env-manager", "local")
    address = ("--host", "127.0.0.1", "--port", str(config.port))
    environment = {**os.environ, "MLFLOW_TRACKING_URI": store.uri}
    os.execve(sys.executable, [sys.executable, "-m", "mlflow", *serve, *address], environment)


if __name__ == "__main__":
    main()
