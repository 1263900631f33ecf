"""What MLflow remembers of a training."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import yaml
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_SOURCE_NAME

from mnist_cnn.errors import InputError
from mnist_cnn.tracking.contents import RESULT_TAG
from mnist_cnn.tracking.record import is_complete
from mnist_cnn.tracking.store import Store
from mnist_cnn.verification import Recorded


def read(store: Store, run_id: str) -> Recorded:
    """Read what the store has of a result.

    Raises:
        InputError: the store cannot be reached, or has no complete result under this id.
    """
    with store.explained():
        run = store.client.get_run(run_id)
        tags = run.data.tags
        if not is_complete(run):
            raise InputError(f"MLflow run {run_id} ({run.info.run_name}) holds no complete result of a training.")
        with TemporaryDirectory() as folder:
            configuration, history = (
                download(store, run_id, name, Path(folder)) for name in ("config.yaml", "history.csv")
            )
            values = yaml.safe_load(configuration.read_text())
            return Recorded(
                run=values["run"],
                command=tags[MLFLOW_SOURCE_NAME],
                identity=tags[RESULT_TAG],
                commit=tags.get(MLFLOW_GIT_COMMIT),
                uncommitted=tags.get("git.uncommitted", "nothing"),
                files={path: md5 for path, md5 in _under("dvc.", tags).items() if "/" in path},  # not the outputs
                environment=_under("environment.", tags),
                configuration=values,
                history=pd.read_csv(history, index_col="epoch"),
                model=tags["dvc.model.h5"],
            )


def download(store: Store, run_id: str, name: str, folder: Path) -> Path:
    """Copy a file of a result that was `read` into a folder, and return its path.

    Raises:
        InputError: the store cannot be reached.
    """
    with store.explained():
        return Path(store.client.download_artifacts(run_id, name, str(folder)))


def _under(prefix: str, tags: dict[str, str]) -> dict[str, str]:
    return {name.removeprefix(prefix): value for name, value in tags.items() if name.startswith(prefix)}
