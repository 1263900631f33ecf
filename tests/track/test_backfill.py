"""The search for open runs that no process trains, and for results that MLflow lacks."""

from pathlib import Path

import pytest

from image_classifier import paths
from image_classifier.errors import InputError
from image_classifier.files import acquire_lock
from image_classifier.provenance.history import StoredResult
from image_classifier.provenance.run_metadata import RunMetadata
from image_classifier.track import backfill
from image_classifier.track.backfill import abandoned_runs, record_stored_results
from image_classifier.track.store import Store
from image_classifier.track.sweeps import SweepRun
from image_classifier.track.writer import write_input

STAGE = {"deps": {"data/prepared/mnist": "4567.dir"}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the locks of trainings and of sweeps."""
    locks = tmp_path / ".dvc/tmp/locks"
    for name, value in {"ROOT": tmp_path, "LOCKS": locks, "SWEEP_LOCK": locks / "sweep.lock"}.items():
        monkeypatch.setattr(paths, name, value)
    return tmp_path


@pytest.mark.parametrize(
    ("copy", "experiment", "name", "command"),
    [
        ("", {}, "sgd_32", "python -m pipelines.train run=sgd_32"),
        (".dvc/tmp/exps/tmp1", {"dvc.experiment": "try"}, "sgd_32 (try)", "dvc exp run with its values"),
    ],
)
def test_an_open_run_is_abandoned_unless_its_training_is_locked(
    store: Store, metadata: RunMetadata, folder: Path, copy: str, experiment: dict[str, str], name: str, command: str
) -> None:
    tags = {"mlflow.source.name": metadata.input.command, **experiment}
    run = write_input(store, None, metadata.input, metadata, tags, paths.dataset_report("mnist"))
    assert list(abandoned_runs("mnist")) == [(run.info.run_id, name, command)]
    lock = acquire_lock(folder / copy / ".dvc/tmp/locks/train_sgd_32.lock", "")
    assert list(abandoned_runs("mnist")) == []
    lock.release()
    assert len(list(abandoned_runs("mnist"))) == 1


@pytest.mark.usefixtures("folder")
def test_an_open_sweep_is_abandoned_unless_a_sweep_runs(store: Store) -> None:
    sweep, found = SweepRun(store, "0123456789"), []
    with sweep.tracked("a sweep", "a command", {}):
        found.append(list(abandoned_runs("mnist")))
        lock = acquire_lock(paths.SWEEP_LOCK, "")
        found.append(list(abandoned_runs("mnist")))
        lock.release()
    found.append(list(abandoned_runs("mnist")))
    assert found == [[(sweep.run_id, "a sweep", "a command")], [], []]


@pytest.mark.usefixtures("no_store", "folder")
def test_without_a_store_no_run_is_open(no_store: Path) -> None:
    assert list(abandoned_runs("mnist")) == []
    assert not no_store.exists()


def test_a_dry_run_promises_only_results_whose_files_can_be_restored(
    no_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, lost = (StoredResult(run, run, STAGE, None, None) for run in ("kept", "lost"))

    def restore(stored: StoredResult, _root: Path) -> None:
        if stored is lost:
            raise InputError(f"{stored} is in no cache or remote.")

    monkeypatch.setattr(backfill, "stored_results", lambda: [kept, lost])
    monkeypatch.setattr(backfill, "restore", restore)
    monkeypatch.setattr(backfill, "open_repository", lambda: None)
    assert list(record_stored_results(dry_run=True)) == [
        f"{paths.ROOT} is not a git repository: only the workspace was searched, not its history.",
        "DVC stores 2 results; MLflow lacks 2 of them.",
        "Would record kept of the workspace",
        "Warning: lost of the workspace is in no cache or remote.",
    ]
    assert not no_store.exists()
