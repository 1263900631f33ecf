"""Every path of the project."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mnist_cnn.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
# DVC runs a queued experiment in a temporary copy of the project and names the lasting one here.
LASTING_ROOT = Path(os.environ.get("DVC_ROOT", ROOT))

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

PICTURES = ROOT / "docs"
BENCHMARKS = PICTURES / "benchmarks.md"

SWEEP_LOCK = ROOT / "outputs/.sweep.lock"

TRACKING_DATABASE = LASTING_ROOT / "mlflow.db"
TRACKING_ARTIFACTS = LASTING_ROOT / "mlartifacts"


@dataclass(frozen=True)
class RunFiles:
    """The files of one run."""

    directory: Path

    @property
    def model(self) -> Path:
        return self.directory / "model.h5"

    @property
    def history(self) -> Path:
        return self.directory / "history.csv"

    @property
    def configuration(self) -> Path:
        return self.directory / "config.yaml"

    @property
    def metrics(self) -> Path:
        return self.directory / "metrics.json"

    @property
    def predictions(self) -> Path:
        return self.directory / "predictions.npz"

    def plot(self, name: str) -> Path:
        return self.directory / "plots" / f"{name}.png"


def execution(result: str) -> Path:
    """Locate the facts of the execution that made a result, such as seconds.

    They are never among the outputs, which the next execution must reproduce, and last as long as the project.
    """
    return LASTING_ROOT / "executions" / f"{result}.json"


def recorded(run: str) -> Path:
    """Locate the digest of the result that MLflow was given last of a documented run."""
    return ROOT / "executions" / f"{run}.recorded"


def documented_run(name: str) -> RunFiles:
    """Locate a run that stands in params.yaml and belongs to DVC."""
    return RunFiles(ROOT / "runs" / name)


def runs_beside(documented: Iterable[str]) -> list[str]:
    """Find the folders of runs that are not, or no longer, documented, relative to the project."""
    return sorted(f"runs/{folder.name}" for folder in (ROOT / "runs").glob("*") if folder.name not in set(documented))


def adhoc_run(name: str) -> RunFiles:
    """Locate a run that was trained by hand, outside DVC."""
    return RunFiles(ROOT / "outputs" / name)


def new_adhoc_run(name: str) -> RunFiles:
    """Locate a run that is to be trained by hand.

    Raises:
        InputError: there is one of that name already.
    """
    files = adhoc_run(name)
    if files.model.exists() and not checkpoint(name).exists():  # then not all of it is written
        raise InputError(f"outputs/{name}/ has a model already. Choose another run=…, or remove the folder.")
    return files


def trained_in(root: Path, run: str) -> RunFiles:
    """Locate a run in another copy of the project, documented there or trained by hand."""
    documented = RunFiles(root / "runs" / run)
    return documented if documented.model.exists() else RunFiles(root / "outputs" / run)


def checkpoint(run: str) -> Path:
    """Locate the progress of a training; it is no output, so that DVC leaves it when it starts the training again."""
    return ROOT / "checkpoints" / f"{run}.checkpoint"


def training_lock(run: str) -> Path:
    """Locate the lock of the process that trains a run."""
    return ROOT / "checkpoints" / f"{run}.lock"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, with its suffix, that takes its place only when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.partial{path.suffix}")
    temporary.unlink(missing_ok=True)  # of a process that was killed
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
