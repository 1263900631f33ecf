"""DVC experiments in the queue."""

import contextlib
from pathlib import Path

import psutil
import pytest
from helpers import artifact_folder, run, tracked_runs


def end_queue_workers(project: Path) -> None:
    """End DVC's workers, which have nothing left to do.

    They end by themselves ten seconds later, except where both started in the same instant: kombu's filesystem
    transport creates the file of their addresses without a lock. An address is lost then, and its worker never told.
    """
    for file in (project / ".dvc/tmp/exps/celery").glob("dvc-exp-worker-*.pid"):
        with contextlib.suppress(psutil.NoSuchProcess):
            worker = psutil.Process(int(file.read_text()))
            if "queue-worker" in worker.cmdline():
                worker.terminate()
                worker.wait()


@pytest.mark.slow
def test_experiments_of_two_queue_workers_are_recorded_in_the_project_s_store(project_copy: Path) -> None:
    before = tracked_runs(project_copy)
    run(project_copy, "dvc", "exp", "run", "--queue", "--set-param", "runs.adadelta_128.batch_size=64,32")
    row = "{data: mnist, model: cnn, optimizer: adam, batch_size: 32, epochs: 1, training: default}"
    run(project_copy, "dvc", "exp", "run", "--queue", "--name", "try", "--set-param", f"+runs.mine={row}")
    run(project_copy, "dvc", "exp", "run", "--run-all", "--jobs", "2")
    end_queue_workers(project_copy)
    new = [row for row in tracked_runs(project_copy) if row not in before]
    names = sorted(name for name, _, _ in new)
    assert all(name.startswith("adadelta_128 (") for name in names[:2])
    assert names[2:] == ["mine (try)"]
    for _, status, artifacts in new:
        assert status == "FINISHED"
        assert (artifact_folder(artifacts) / "plots/loss.png").is_file()
    columns = "(?!Experiment|.*test_accuracy)"
    shown = run(
        project_copy, "dvc", "exp", "show", "--no-pager", "--only-changed", "--drop", columns, COLUMNS="1000"
    ).splitlines()
    assert max(map(len, shown)) <= 130  # characters: the names of two metrics with their paths have 90
    assert "runs/mnist/mine/metrics.json:test_accuracy" in shown[1]
