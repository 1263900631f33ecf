"""The whole pipeline: the real `dvc repro` in a copy of the project, on a slice of real MNIST."""

import contextlib
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from project import MADE_FOR_GIT, RUNS, recorded, replace, run

from mnist_cnn.dataset import read_arrays


def stages(printed: str) -> list[str]:
    return re.findall(r"^Running stage '(.*)'", printed, re.MULTILINE)


def would_run(project: Path) -> list[str]:
    return stages(run(project, "dvc", "repro", "--dry"))


def test_every_output_that_the_notebook_makes_is_there(finished: Path) -> None:
    for name in RUNS:
        made = {str(file.relative_to(finished / "runs" / name)) for file in (finished / "runs" / name).rglob("*.*")}
        assert made == {
            "config.yaml",
            "history.csv",
            "metrics.json",
            "model.h5",
            "plots/accuracy.png",
            "plots/confusion_matrix.png",
            "plots/loss.png",
            "plots/mistakes.png",
            "plots/predictions.png",
            "predictions.npz",
        }
    assert {str(file.relative_to(finished)) for file in (finished / "reports").iterdir()} >= MADE_FOR_GIT - {"dvc.lock"}


def test_the_evaluation_agrees_with_the_last_epoch_of_the_history(finished: Path) -> None:
    for name in RUNS:
        columns, *_, last = (finished / "runs" / name / "history.csv").read_text().splitlines()
        history = dict(zip(columns.split(","), map(float, last.split(",")), strict=True))
        metrics = json.loads((finished / "runs" / name / "metrics.json").read_text())
        assert metrics["test_accuracy"] == pytest.approx(history["val_accuracy"])
        assert metrics["test_loss"] == pytest.approx(history["val_loss"], rel=1e-5)


def test_the_comparison_shows_all_runs(finished: Path) -> None:
    assert set(json.loads((finished / "reports/comparison.json").read_text())["runs"]) == set(RUNS)


def test_each_run_is_recorded_once_beside_the_project_s_own_store(finished: Path) -> None:
    runs = recorded(finished)
    assert sorted(name for name, _, _ in runs) == sorted(RUNS)
    for _, status, artifacts in runs:
        assert status == "FINISHED"
        assert artifacts.startswith((finished / "mlartifacts").as_uri())
        assert (Path(artifacts.removeprefix("file://")) / "model.h5").is_file()


def test_nothing_runs_a_second_time(finished: Path) -> None:
    assert "Data and pipelines are up to date." in run(finished, "dvc", "repro")


def test_dvc_shows_metrics_and_plots(finished: Path) -> None:
    assert "test_accuracy" in run(finished, "dvc", "metrics", "show")
    run(finished, "dvc", "plots", "diff", "HEAD", "--out", "dvc_plots")
    page = (finished / "dvc_plots" / "index.html").read_text()
    shutil.rmtree(finished / "dvc_plots")
    assert all(f"runs_{name}_history_csv" in page for name in RUNS)


def test_an_optimizer_s_file_retrains_its_runs_only(project: Path) -> None:
    replace(project / "conf/optimizer/sgd.yaml", "learning_rate: 0.01", "learning_rate: 0.02")
    assert would_run(project) == ["train@sgd_32", "train@sgd_128"]


def test_the_model_retrains_every_run(project: Path) -> None:
    replace(project / "conf/model/cnn.yaml", "rate: 0.25", "rate: 0.2")
    assert would_run(project) == ["diagram", *(f"train@{name}" for name in RUNS)]


def test_a_plot_s_code_trains_nothing(project: Path) -> None:
    replace(project / "src/mnist_cnn/plots.py", '"tab:green"', '"tab:olive"')
    assert would_run(project) == ["prepare", *(f"evaluate@{name}" for name in RUNS), "compare"]


def test_the_readme_runs_nothing(project: Path) -> None:
    (project / "README.md").write_text("changed")
    assert would_run(project) == []


def test_a_forced_training_gives_the_same_bytes_and_the_same_record(project: Path) -> None:
    before = recorded(project)
    run(
        project,
        "dvc",
        "repro",
        "--force",
        "--single-item",
        "train@adadelta_128",
        "evaluate@adadelta_128",
        "track@adadelta_128",
    )
    assert run(project, "git", "diff", "dvc.lock") == ""
    assert recorded(project) == before


def test_outputs_that_were_deleted_are_restored_without_training_and_without_a_second_record(project: Path) -> None:
    before = recorded(project)
    shutil.rmtree(project / "runs")
    (project / "dvc.lock").unlink()
    printed = run(project, "dvc", "repro")
    assert "Epoch 1/" not in printed
    assert run(project, "git", "diff", "dvc.lock") == ""
    assert recorded(project) == before


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


def test_experiments_of_two_queue_workers_are_recorded_in_the_project_s_store(
    project: Path,
) -> None:
    before = recorded(project)
    run(project, "dvc", "exp", "run", "--queue", "--set-param", "runs.adadelta_128.batch_size=64,32")
    row = "{optimizer: adam, batch_size: 32, epochs: 1, training: default}"
    run(project, "dvc", "exp", "run", "--queue", "--set-param", f"+runs.mine={row}")
    run(project, "dvc", "exp", "run", "--run-all", "--jobs", "2")
    end_queue_workers(project)
    new = [row for row in recorded(project) if row not in before]
    assert sorted(name for name, _, _ in new) == ["adadelta_128", "adadelta_128", "mine"]
    for _, status, artifacts in new:
        assert status == "FINISHED"
        assert (Path(artifacts.removeprefix("file://")) / "plots" / "loss.png").is_file()


def test_a_new_row_of_params_yaml_is_a_new_run(project: Path) -> None:
    with (project / "params.yaml").open("a") as file:
        file.write("  mine: {optimizer: adam, batch_size: 64, epochs: 1, training: default}\n")
    assert stages(run(project, "dvc", "repro")) == ["train@mine", "evaluate@mine", "compare", "track@mine"]
    assert "| `mine` " in (project / "reports/comparison.md").read_text()
    shutil.rmtree(project / "runs/mine")


def test_a_row_with_an_unknown_optimizer_trains_nothing(project: Path) -> None:
    replace(project / "params.yaml", "sgd_32: {optimizer: sgd", "sgd_32: {optimizer: sdg")
    message = run(project, sys.executable, "-m", "pipelines.check", fails=True)
    assert message.startswith("Error: params.yaml: runs.sgd_32: Unknown optimizer 'sdg'. Choose one of: adadelta, ")
    assert "conf/optimizer/sdg.yaml" in run(project, "dvc", "repro", fails=True)


def test_truncated_raw_data_is_refused_by_name(project: Path) -> None:
    raw = project / "data/raw/mnist.npz"
    content = raw.read_bytes()
    raw.unlink()
    raw.write_bytes(content[: len(content) // 2])
    message = run(project, sys.executable, "-m", "pipelines.prepare", fails=True)
    assert message.startswith(f"Error: {raw} is damaged")


def test_raw_data_with_one_changed_bit_is_refused_by_name(project: Path) -> None:
    raw = project / "data/raw/mnist.npz"
    arrays = read_arrays(raw)
    arrays["test_images"][0, 14, 14] ^= 1
    raw.unlink()
    np.savez(raw, allow_pickle=False, **arrays)
    message = run(project, sys.executable, "-m", "pipelines.prepare", fails=True)
    assert re.match(rf"Error: {raw}.* is not MNIST", message)
