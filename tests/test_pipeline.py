"""The whole pipeline: the real `dvc repro` in a copy of the project, on a slice of real MNIST."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mnist_cnn import paths

RUNS = ("sgd_32", "sgd_128", "adadelta_128")
MADE_FOR_GIT = {
    "dvc.lock",
    "reports/comparison.json",
    "reports/comparison.md",
    "reports/comparison.png",
    "reports/dataset.json",
    "reports/model.png",
    "reports/model.svg",
    "reports/model.txt",
    "reports/samples.png",
}
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_"))},
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "DVC_NO_ANALYTICS": "1",
}


def run(project: Path, *command: str, fails: bool = False) -> str:
    """Run a command in a project and give what it printed."""
    completed = subprocess.run(
        command, cwd=project, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert (completed.returncode != 0) == fails, completed.stdout
    return completed.stdout


def stages(printed: str) -> list[str]:
    return re.findall(r"^Running stage '(.*)'", printed, re.MULTILINE)


def would_run(project: Path) -> list[str]:
    return stages(run(project, "dvc", "repro", "--dry"))


def commit(project: Path) -> None:
    run(project, "git", "add", "--all")
    author = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    run(project, "git", *author, "commit", "--quiet", "--message", "test")


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def recorded(project: Path) -> list[tuple[str, str, str]]:
    """Return name, status and artifact location of every MLflow run."""
    with sqlite3.connect(project / "mlflow.db") as database:
        return database.execute("SELECT name, status, artifact_uri FROM runs ORDER BY start_time").fetchall()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh clone of the project, as it is now, after its first `dvc repro`: 1,000 images, one epoch."""
    project = tmp_path_factory.mktemp("finished") / "project"
    files = run(paths.ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    for file in files:
        if (paths.ROOT / file).is_file():
            (project / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(paths.ROOT / file, project / file)
    (project / "dvc.lock").unlink(missing_ok=True)
    replace(project / "conf/data/mnist.yaml", "train_examples: 60000", "train_examples: 1000")
    replace(project / "conf/data/mnist.yaml", "test_examples: 10000", "test_examples: 500")
    replace(project / "params.yaml", "epochs: 10", "epochs: 1")
    run(project, "git", "init", "--quiet")
    commit(project)
    run(project, "dvc", "repro")
    assert {line[3:] for line in run(project, "git", "status", "--porcelain").splitlines()} <= MADE_FOR_GIT
    commit(project)
    return project


@pytest.fixture
def project(finished: Path) -> Iterator[Path]:
    """The finished project; what a test changes in files that git knows is undone after it."""
    yield finished
    run(finished, "git", "checkout", "--quiet", ".")
    run(finished, "dvc", "checkout", "--quiet", "--force")


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
    assert {str(file.relative_to(finished)) for file in (finished / "reports").iterdir()} == MADE_FOR_GIT - {"dvc.lock"}


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


def test_queued_experiments_are_recorded_in_the_project_s_store_with_their_artifacts(project: Path) -> None:
    before = recorded(project)
    run(project, "dvc", "exp", "run", "--queue", "--set-param", "runs.adadelta_128.batch_size=64,32")
    run(project, "dvc", "exp", "run", "--run-all")
    new = [row for row in recorded(project) if row not in before]
    assert len(new) == 2
    for _, status, artifacts in new:
        assert status == "FINISHED"
        assert (Path(artifacts.removeprefix("file://")) / "plots" / "loss.png").is_file()


def test_a_new_row_of_params_yaml_is_a_new_run(project: Path) -> None:
    with (project / "params.yaml").open("a") as file:
        file.write("  mine: {optimizer: adam, batch_size: 64, epochs: 1}\n")
    assert stages(run(project, "dvc", "repro")) == ["train@mine", "evaluate@mine", "compare", "track@mine"]
    assert "| `mine` " in (project / "reports/comparison.md").read_text()
    shutil.rmtree(project / "runs/mine")


def test_a_row_with_an_unknown_optimizer_trains_nothing(project: Path) -> None:
    replace(project / "params.yaml", "sgd_32: {optimizer: sgd", "sgd_32: {optimizer: sdg")
    message = run(project, sys.executable, "-m", "pipelines.check", fails=True)
    assert message.startswith("Error: params.yaml: runs.sgd_32: Unknown optimizer 'sdg'. Choose one of: adadelta, ")
    assert "conf/optimizer/sdg.yaml" in run(project, "dvc", "repro", fails=True)


def test_tampered_raw_data_is_refused_by_name(project: Path) -> None:
    raw = project / "data/raw/mnist.npz"
    content = bytearray(raw.read_bytes())
    raw.unlink()
    raw.write_bytes(content[: len(content) // 2])
    message = run(project, sys.executable, "-m", "pipelines.prepare", fails=True)
    assert message.startswith(f"Error: {raw} is damaged")


def test_a_run_by_hand_stays_out_of_dvc_and_an_interrupted_one_leaves_nothing(finished: Path) -> None:
    train = (sys.executable, "-m", "pipelines.train", "optimizer=adam", "batch_size=64")
    assert "Wrote outputs/mine/" in run(finished, *train, "epochs=1", "run=mine")
    with subprocess.Popen(
        [*train, "epochs=30", "run=interrupted"],
        cwd=finished,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell may have had it ignored
    ) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if line.startswith("Epoch 2/"))
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert process.returncode == 130
    assert rest.splitlines()[-1] == "Interrupted. The same command starts it again."
    assert {str(file.relative_to(finished / "outputs")) for file in (finished / "outputs").rglob("*.*")} == {
        "mine/config.yaml",
        "mine/history.csv",
        "mine/model.h5",
    }
    assert "Data and pipelines are up to date." in run(finished, "dvc", "repro")
