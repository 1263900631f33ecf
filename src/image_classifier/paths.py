"""Every path of the project."""

import errno
import os
import re
from collections.abc import Iterable
from pathlib import Path

from image_classifier.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
# DVC runs a queued experiment in a temporary copy of the project; this variable names the original folder.
_ORIGINAL = Path(os.environ.get("DVC_ROOT", ROOT)).resolve()
DVC_ROOT = _ORIGINAL if ROOT.is_relative_to(_ORIGINAL / ".dvc/tmp") else ROOT

CONF = ROOT / "conf"
PARAMS = ROOT / "params.yaml"
DVC_YAML = ROOT / "dvc.yaml"
DVC_LOCK = ROOT / "dvc.lock"

PREPARED = "data/prepared"
PUBLISHED = ROOT / "data/published"

REPORTS = ROOT / "reports"
MODELS = REPORTS / "models"
REPLICATES = REPORTS / "replicates.csv"
REPLICATES_PLOT = REPORTS / "replicates.png"
REPLICATES_ENVIRONMENTS = REPORTS / "replicates_environments.csv"
REPLICATES_PREDICTIONS = REPORTS / "replicates_predictions.csv"

LOCKS = ROOT / ".dvc/tmp/locks"
SWEEP_LOCK = LOCKS / "sweep.lock"

TRACKING_DATABASE = DVC_ROOT / "mlflow.db"
ARTIFACTS = "mlartifacts"

CALIBRATION_FILE = "calibration.json"  # in the folder of an evaluated run and among its artifacts in MLflow


class RunFiles:
    """The files of one run."""

    def __init__(self, directory: Path, plots: Path | None = None) -> None:
        self.directory = directory
        self.plots = plots or directory / "plots"
        self.model = directory / "model.h5"
        self.history = directory / "history.csv"
        self.configuration = directory / "config.yaml"
        self.metrics = directory / "metrics.json"
        self.calibration = directory / CALIBRATION_FILE
        self.predictions = directory / "predictions.npz"

    def plot(self, name: str) -> Path:
        return self.plots / f"{name}.png"


def raw_data(data: str) -> Path:
    """Return the folder with the images of a data set as its source has them."""
    return ROOT / "data/raw" / data


def prepared_data(data: str) -> Path:
    """Return the folder of a data set from which training reads."""
    return ROOT / PREPARED / data


def dataset_report(data: str, root: Path | None = None) -> Path:
    """Return the description of a data set in numbers."""
    return (root or ROOT) / f"reports/dataset_{data}.json"


def samples(data: str) -> Path:
    """Return the picture with sample images of a data set."""
    return REPORTS / f"samples_{data}.png"


def model_diagrams(model: str, data: str, root: Path | None = None) -> tuple[Path, Path, Path]:
    """Return the drawings (.png, .svg) and the table (.txt) of a model for a data set."""
    folder = (root or ROOT) / "reports/models"
    name = f"{model}_{data}"
    return folder / f"{name}.png", folder / f"{name}.svg", folder / f"{name}.txt"


def comparison(data: str, suffix: str, root: Path | None = None) -> Path:
    """Return the comparison of the pipeline runs of a data set: "json", "md" or "png"."""
    return (root or ROOT) / f"reports/comparison_{data}.{suffix}"


def error_page(data: str) -> Path:
    """Return the page with the test images that a pipeline run of a data set classifies wrongly."""
    return REPORTS / f"errors_{data}.html"


def audit(data: str, suffix: str) -> Path:
    """Return the audit of a data set: "md" or "png"."""
    return REPORTS / f"audit_{data}.{suffix}"


def labels(data: str, suffix: str) -> Path:
    """Return the list of suspect labels of a data set: "md" or "png"."""
    return REPORTS / f"labels_{data}.{suffix}"


def published_history(data: str) -> Path:
    """Return the file with the training logs that were published for a data set; most data sets have none."""
    return PUBLISHED / f"{data}.csv"


def artifacts_of(database: Path) -> Path:
    """Return the folder with the artifacts of MLflow's SQLite file, which is beside it so that both move together."""
    return database.absolute().with_name(ARTIFACTS)


def pipeline_run(data: str, name: str, root: Path | None = None) -> RunFiles:
    """Return the files of a row of params.yaml, which belong to DVC, in the project or in another copy of it."""
    project = root or ROOT
    return RunFiles(project / "runs" / data / name, project / "plots" / data / name)


def adhoc_run(name: str) -> RunFiles:
    """Return the files of an ad hoc run: one that was trained from the command line, outside of DVC."""
    return RunFiles(ROOT / "outputs" / name)


def export(run: str, kind: str) -> Path:
    """Return the default folder of an exported model.

    Args:
        run: Name or id of a run, or address of an MLflow model, whose special characters become underscores.
        kind: Format of the model, with its quantization if it has one.
    """
    return ROOT / "exports" / re.sub(r"[^\w.-]", "_", run) / kind


def finished_adhoc_runs() -> list[str]:
    """List the names of the ad hoc runs that are trained to the end."""
    return sorted(folder.name for folder in (ROOT / "outputs").glob("*") if is_trained(folder.name))


def is_trained(adhoc: str) -> bool:
    """Return whether an ad hoc run is trained to the end. With a checkpoint, its files are incomplete."""
    return adhoc_run(adhoc).model.exists() and not checkpoint(adhoc).exists()


def new_adhoc_run(name: str) -> RunFiles:
    """Return the files of an ad hoc run that has not been trained.

    Raises:
        FileExistsError: A file is in place of the folder outputs/.
        InputError: An ad hoc run of that name exists. Metrics without a model count as well, so that metrics always
            belong to the model beside them.
    """
    files = adhoc_run(name)
    if is_trained(name) or files.metrics.exists():
        raise InputError(f"outputs/{name}/ has results already. Choose another run=…, or remove the folder.")
    if files.directory.parent.is_file():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(files.directory.parent))
    return files


def trained_run(root: Path, data: str, run: str) -> RunFiles:
    """Return the files of a run in another copy of the project, where it is a pipeline run or an ad hoc run."""
    files = pipeline_run(data, run, root)
    return files if files.model.exists() else RunFiles(root / "outputs" / run)


def remedy(missing: Path) -> str:
    """Return a sentence that says how to make or restore a missing or damaged file."""
    path = ROOT / missing
    replicate_files = (REPLICATES, REPLICATES_PLOT, REPLICATES_ENVIRONMENTS, REPLICATES_PREDICTIONS)
    if path in (*replicate_files, PARAMS, DVC_YAML, DVC_LOCK) or any(
        path.is_relative_to(folder) for folder in (CONF, PUBLISHED, ROOT / "src", ROOT / "pipelines")
    ):
        return f"Restore it: git checkout {path.relative_to(ROOT)}"
    is_output = any(path.is_relative_to(ROOT / folder) for folder in ("data", "plots", "reports", "runs"))
    if path.is_relative_to(ROOT / "outputs"):
        return "Remove the folder of this run, and train it again."
    return "Make it: dvc repro" if is_output else "Check the path."


def leftover_runs(rows: Iterable[tuple[str, str]]) -> list[str]:
    """List the folders of runs, relative to the project, that are not rows of params.yaml.

    Args:
        rows: Data set and name of each row.
    """
    kept = {pipeline_run(data, run).directory for data, run in rows}
    folders = (folder for folder in (ROOT / "runs").glob("*/*") if folder.is_dir() and folder not in kept)
    return sorted(folder.relative_to(ROOT).as_posix() for folder in folders)


def run_metadata(result: str) -> Path:
    """Return the file with the metadata of the training that made the result with this fingerprint."""
    return DVC_ROOT / "run_metadata" / f"{result}.json"


def tracked_marker(run: str) -> Path:
    """Return the file with the fingerprint of the result of a pipeline run that MLflow received last."""
    return ROOT / "run_metadata" / f"{run}.tracked"


def checkpoint(run: str) -> Path:
    """Return the checkpoint of a training. It is not a DVC output, because DVC removes outputs before it trains."""
    return ROOT / "checkpoints" / f"{run}.checkpoint"


def training_lock(run: str) -> Path:
    """Return the lock of the process that trains a run."""
    return LOCKS / f"train_{run}.lock"


def training_locks(run: str) -> list[Path]:
    """Return the training locks of a run in this folder and in the copies in which DVC runs queued experiments."""
    lock = training_lock(run)
    return [lock, *(ROOT / ".dvc/tmp/exps").glob(f"*/{lock.relative_to(ROOT)}")]
