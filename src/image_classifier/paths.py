"""Every path of the project."""

import errno
import os
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

RAW_DATA = ROOT / "data/raw/mnist.npz"
PREPARED_DATA = ROOT / "data/prepared/mnist.npz"
PUBLISHED_HISTORY = ROOT / "data/published_history.csv"

REPORTS = ROOT / "reports"
DATASET_REPORT = REPORTS / "dataset.json"
SAMPLES = REPORTS / "samples.png"
MODEL_SUMMARY = REPORTS / "model.txt"
MODEL_DIAGRAMS = (REPORTS / "model.png", REPORTS / "model.svg")
REPLICATES = REPORTS / "replicates.csv"
REPLICATES_PLOT = REPORTS / "replicates.png"
COMPARISON = REPORTS / "comparison.json"
COMPARISON_TEXT = REPORTS / "comparison.md"
COMPARISON_PLOT = REPORTS / "comparison.png"

SCREENSHOTS = ROOT / "docs"
PERFORMANCE = ROOT / "docs/performance.md"

LOCKS = ROOT / ".dvc/tmp/locks"
SWEEP_LOCK = LOCKS / "sweep.lock"

TRACKING_DATABASE = DVC_ROOT / "mlflow.db"
ARTIFACTS = "mlartifacts"


class RunFiles:
    """The files of one run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.model = directory / "model.h5"
        self.history = directory / "history.csv"
        self.configuration = directory / "config.yaml"
        self.metrics = directory / "metrics.json"
        self.predictions = directory / "predictions.npz"

    def plot(self, name: str) -> Path:
        return self.directory / "plots" / f"{name}.png"


def artifacts_of(database: Path) -> Path:
    """Return the folder with the artifacts of MLflow's SQLite file, which is beside it so that both move together."""
    return database.absolute().with_name(ARTIFACTS)


def pipeline_run(name: str) -> RunFiles:
    """Return the files of a row of params.yaml, which belong to DVC."""
    return RunFiles(ROOT / "runs" / name)


def adhoc_run(name: str) -> RunFiles:
    """Return the files of an ad hoc run: one that was trained from the command line, outside of DVC."""
    return RunFiles(ROOT / "outputs" / name)


def finished_adhoc_runs() -> list[str]:
    """List the names of the ad hoc runs that are trained to the end."""
    names = sorted(model.parent.name for model in (ROOT / "outputs").glob("*/model.h5"))
    return [name for name in names if not checkpoint(name).exists()]


def new_adhoc_run(name: str) -> RunFiles:
    """Return the files of an ad hoc run that has not been trained.

    Raises:
        FileExistsError: A file is in place of the folder outputs/.
        InputError: An ad hoc run of that name exists. Metrics without a model count as well, so that metrics always
            belong to the model beside them.
    """
    files = adhoc_run(name)
    exists = files.model.exists() and not checkpoint(name).exists()  # with a checkpoint, its files are incomplete
    if exists or files.metrics.exists():
        raise InputError(f"outputs/{name}/ has results already. Choose another run=…, or remove the folder.")
    if files.directory.parent.is_file():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(files.directory.parent))
    return files


def trained_run(root: Path, run: str) -> RunFiles:
    """Return the files of a run in another copy of the project, where it is a pipeline run or an ad hoc run."""
    files = RunFiles(root / "runs" / run)
    return files if files.model.exists() else RunFiles(root / "outputs" / run)


def remedy(missing: Path) -> str:
    """Return a sentence that says how to make or restore a missing or damaged file."""
    path, in_git = ROOT / missing, (PUBLISHED_HISTORY, REPLICATES, REPLICATES_PLOT, PARAMS, DVC_YAML, DVC_LOCK)
    if path in in_git or any(path.is_relative_to(folder) for folder in (CONF, ROOT / "src", ROOT / "pipelines")):
        return f"Restore it: git checkout {path.relative_to(ROOT)}"
    is_output = any(path.is_relative_to(ROOT / folder) for folder in ("data", "reports", "runs"))
    if path.is_relative_to(ROOT / "outputs"):
        return "Remove the folder of this run, and train it again."
    return "Make it: dvc repro" if is_output else "Check the path."


def leftover_runs(rows: Iterable[str]) -> list[str]:
    """List the folders in runs/ that are not rows of params.yaml, relative to the project."""
    return sorted(f"runs/{folder.name}" for folder in (ROOT / "runs").glob("*") if folder.name not in set(rows))


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
