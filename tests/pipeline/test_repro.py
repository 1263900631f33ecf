"""`dvc repro`: its outputs, and what an edited file runs again."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers import (
    CLI,
    COMMITTED_OUTPUTS,
    PYTHON,
    RUNS,
    SMALL_GRID,
    STAGES,
    SWEEP,
    TEST_IMAGES,
    TRAIN,
    TRAINING_IMAGES,
    artifact_folder,
    copy_project,
    replace,
    run,
    stages,
    tracked_runs,
    would_run,
)

from image_classifier.files import file_hashes

TRAININGS = [f"train@{name}" for name in RUNS]
EVALUATIONS = [f"evaluate@{name}" for name in RUNS]


def test_the_first_repro_runs_every_stage_once(repro_output: str) -> None:
    each_run = [f"{stage}@{name}" for stage in ("train", "evaluate", "track") for name in RUNS]
    assert sorted(stages(repro_output)) == sorted(
        ["fetch@mnist", "prepare@mnist", "audit@mnist", "diagram", "compare@mnist", *each_run]
    )


def test_every_stage_prints_one_line_with_its_duration(repro_output: str) -> None:
    printed = re.findall(rf"^({'|'.join(STAGES)}): (?:.+) in \d+\.\d s$", repro_output, re.MULTILINE)
    assert sorted(printed) == sorted(stage.partition("@")[0] for stage in stages(repro_output))


def test_every_run_has_its_model_metrics_predictions_and_plots(repro_project: Path) -> None:
    for name in RUNS:
        folders = [repro_project / folder / "mnist" / name for folder in ("runs", "plots")]
        assert {file.name for folder in folders for file in folder.iterdir()} == {
            "calibration.json",
            "config.yaml",
            "history.csv",
            "metrics.json",
            "model.h5",
            "predictions.npz",
            "accuracy.png",
            "confusion_matrix.png",
            "loss.png",
            "mistakes.png",
            "predictions.png",
            "reliability.png",
        }


def test_the_reports_are_made(repro_project: Path) -> None:
    assert {file for file in COMMITTED_OUTPUTS if not (repro_project / file).is_file()} == set()


def assert_evaluation_agrees_with_history(run: Path) -> None:
    columns, *_, last = (run / "history.csv").read_text().splitlines()
    history = dict(zip(columns.split(","), map(float, last.split(",")), strict=True))
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test_accuracy"] == pytest.approx(history["val_accuracy"])
    assert metrics["test_loss"] == pytest.approx(history["val_loss"], rel=1e-5)


@pytest.mark.parametrize("name", RUNS)
def test_the_evaluation_agrees_with_the_last_epoch_of_the_history(repro_project: Path, name: str) -> None:
    assert_evaluation_agrees_with_history(repro_project / "runs/mnist" / name)


def test_the_comparison_shows_all_runs(repro_project: Path) -> None:
    assert set(json.loads((repro_project / "reports/comparison_mnist.json").read_text())["runs"]) == set(RUNS)


def test_each_run_is_recorded_once_in_the_project_s_own_store(repro_project: Path) -> None:
    tracked = tracked_runs(repro_project)
    assert sorted(name for name, _, _ in tracked) == sorted(RUNS)
    for _, status, artifacts in tracked:
        assert status == "FINISHED"
        assert artifacts.startswith((repro_project / "mlartifacts").as_uri())
        assert (artifact_folder(artifacts) / "model.h5").is_file()


def test_the_project_hashes_files_and_folders_as_dvc_does(repro_project: Path) -> None:
    locked = yaml.safe_load((repro_project / "dvc.lock").read_text())["stages"]
    entries = [entry for stage in locked.values() for entry in (*stage["deps"], *stage["outs"])]
    hashes = {entry["path"]: entry["md5"] for entry in entries}
    assert {"src/image_classifier/train", "runs/mnist/fast", "data/prepared/mnist"} <= hashes.keys()
    assert file_hashes(repro_project, hashes) == hashes


def test_a_copy_of_a_project_has_no_path_of_the_original(repro_project: Path, project_copy: Path) -> None:
    original, pointing = str(repro_project).encode(), set()
    for file in project_copy.rglob("*"):
        is_compressed = {".git", "cache"} & set(file.relative_to(project_copy).parts)
        if (
            file.is_file()
            and file.suffix not in (".npz", ".pyc")
            and not is_compressed
            and original in file.read_bytes()
        ):
            pointing.add(file.relative_to(project_copy).as_posix())
    assert pointing == set()


def test_nothing_runs_a_second_time(project_copy: Path) -> None:
    assert would_run(project_copy) == []


@pytest.mark.slow
def test_dvc_shows_metrics_and_plots(project_copy: Path) -> None:
    assert "test_accuracy" in run(project_copy, "dvc", "metrics", "show")
    run(project_copy, "dvc", "plots", "diff", "HEAD", "--out", "dvc_plots")
    page = (project_copy / "dvc_plots" / "index.html").read_text()
    assert all(f"runs_mnist_{name}_history_csv" in page for name in RUNS)


@pytest.mark.parametrize(
    ("file", "old", "new", "again"),
    [
        ("README.md", "\n", " \n", []),
        ("conf/optimizer/sgd.yaml", "learning_rate:", "# An edited comment\nlearning_rate:", []),
        ("conf/optimizer/sgd.yaml", "learning_rate: 0.01", "learning_rate: 0.02", ["train@sgd_32", "train@sgd_128"]),
        ("conf/training/fast.yaml", "label_smoothing: 0.05", "label_smoothing: 0.1", ["train@fast"]),
        ("conf/training/default.yaml", "seed: 42", "seed: 43", TRAININGS),
        ("conf/model/cnn.yaml", "rate: 0.25", "rate: 0.2", ["diagram", *TRAININGS]),
        ("conf/evaluate.yaml", "target_accuracy: 0.999", "target_accuracy: 0.99", EVALUATIONS),
        ("conf/audit.yaml", "similarity: 0.99", "similarity: 0.98", ["audit@mnist"]),
        (
            "conf/data/mnist.yaml",
            f"test_examples: {TEST_IMAGES}",
            "test_examples: 100",
            ["fetch@mnist", "prepare@mnist", "diagram"],
        ),
        ("src/image_classifier/evaluate/plots.py", '"""\n', '"""\n\nCOLOR = "tab:olive"\n', EVALUATIONS),
    ],
    ids=[
        "the README",
        "a comment on an optimizer",
        "a value of an optimizer",
        "a value of a training file",
        "the seed",
        "the model",
        "the accuracy of the answers that are given",
        "the limit of near duplicates",
        "the number of images",
        "the code of the plots",
    ],
)
def test_an_edit_runs_only_the_stages_that_depend_on_it(
    project_copy: Path, file: str, old: str, new: str, again: list[str]
) -> None:
    text = (project_copy / file).read_text()
    assert old in text
    (project_copy / file).write_text(text.replace(old, new, 1))
    assert sorted(would_run(project_copy)) == sorted(again)


def test_a_new_module_of_the_training_trains_all_runs_again(project_copy: Path) -> None:
    (project_copy / "src/image_classifier/train/schedule.py").write_text('"""A new module."""\n')
    assert sorted(would_run(project_copy)) == sorted([*TRAININGS, "compare@mnist"])


def test_compiled_code_is_no_dependency(project_copy: Path) -> None:
    for folder in ("train", "evaluate", "track"):
        compiled = project_copy / "src/image_classifier" / folder / "__pycache__"
        compiled.mkdir(exist_ok=True)
        (compiled / "new.cpython-311.pyc").write_bytes(b"compiled")
    assert would_run(project_copy) == []


def test_raw_data_that_is_truncated_is_refused_by_name(project_copy: Path) -> None:
    raw = project_copy / "data/raw/mnist/train_images.npy"
    content = raw.read_bytes()
    raw.unlink()
    raw.write_bytes(content[: len(content) // 2])
    message = run(project_copy, *PYTHON, "pipelines.prepare", fails=True)
    assert message.startswith(f"Error: {raw} is damaged")


def test_raw_data_with_one_changed_bit_is_refused_by_name(project_copy: Path) -> None:
    raw = project_copy / "data/raw/mnist/test_images.npy"
    images = np.load(raw)
    images[0, 14, 14] ^= 1
    raw.unlink()
    np.save(raw, images)
    message = run(project_copy, *PYTHON, "pipelines.prepare", fails=True)
    assert re.match(rf"Error: {raw.parent}.* is not MNIST", message)


def test_a_batch_that_is_larger_than_the_training_images_is_refused_before_training(repro_project: Path) -> None:
    message = run(repro_project, *TRAIN, f"batch_size={TRAINING_IMAGES + 1}", "run=large", fails=True)
    assert message == f"Error: batch_size=501: should be at most {TRAINING_IMAGES}, the number of training images.\n"


@pytest.mark.parametrize(
    "command", [TRAIN, (*SWEEP, *SMALL_GRID), (CLI, "replicate", "fast")], ids=["training", "sweep", "replicates"]
)
def test_no_training_outside_of_dvc_uses_images_that_conf_no_longer_asks_for(
    project_copy: Path, command: tuple[str, ...]
) -> None:
    replace(project_copy / "conf/data/mnist.yaml", f"train_examples: {TRAINING_IMAGES}", "train_examples: 400")
    assert run(project_copy, *command, fails=True) == (
        "Error: data.train_examples=400: data/prepared/mnist has 500. Write train_examples: 400 into "
        "conf/data/mnist.yaml, then make it again: dvc repro prepare@mnist\n"
    )


def test_more_held_out_images_than_there_are_is_refused_before_training(repro_project: Path) -> None:
    message = run(repro_project, *TRAIN, "validation=held_out", f"validation.size={TRAINING_IMAGES}", fails=True)
    assert message == (
        f"Error: validation.size={TRAINING_IMAGES}: {TRAINING_IMAGES} of the {TRAINING_IMAGES} training images "
        "would be held out. Choose a value between none and all.\n"
    )


def test_a_run_that_is_a_row_with_other_values_is_refused(repro_project: Path) -> None:
    message = run(repro_project, *TRAIN, "run=sgd_32", "batch_size=64", fails=True)
    assert message.startswith("Error: run=sgd_32 is a row of params.yaml with other values.")


def test_a_row_with_an_unknown_optimizer_trains_nothing(project_copy: Path) -> None:
    replace(project_copy / "params.yaml", "optimizer: sgd, batch_size: 32", "optimizer: sdg, batch_size: 32")
    printed = run(project_copy, "dvc", "repro", fails=True)
    assert "Error: params.yaml: runs.sgd_32: Unknown optimizer 'sdg'." in printed
    assert stages(printed) == ["diagram"]


@pytest.mark.slow
def test_a_forced_training_gives_the_same_bytes_and_the_same_record(project_copy: Path) -> None:
    before = tracked_runs(project_copy)
    forced = [f"{stage}@adadelta_128" for stage in ("train", "evaluate", "track")]
    run(project_copy, "dvc", "repro", "--force", "--single-item", *forced)
    assert run(project_copy, "git", "diff", "dvc.lock") == ""
    assert tracked_runs(project_copy) == before


@pytest.mark.slow
def test_outputs_that_were_deleted_are_restored_without_training_and_without_a_second_record(
    project_copy: Path,
) -> None:
    before = tracked_runs(project_copy)
    for folder in ("data/prepared", "plots", "runs"):
        shutil.rmtree(project_copy / folder)
    (project_copy / "dvc.lock").unlink()
    printed = run(project_copy, "dvc", "repro")
    assert "Epoch 1/" not in printed
    assert run(project_copy, "git", "diff", "dvc.lock") == ""
    assert tracked_runs(project_copy) == before


@pytest.mark.slow
def test_a_new_row_of_params_yaml_is_a_new_run(project_copy: Path) -> None:
    with (project_copy / "params.yaml").open("a") as file:
        file.write("  mine: {data: mnist, model: cnn, optimizer: adam, batch_size: 64, epochs: 1, training: default}\n")
    expected = ["diagram", "train@mine", "evaluate@mine", "compare@mnist", "track@mine"]
    assert sorted(stages(run(project_copy, "dvc", "repro"))) == sorted(expected)
    assert "| `mine` " in (project_copy / "reports/comparison_mnist.md").read_text()


@pytest.mark.slow
def test_a_run_in_bfloat16_is_evaluated_as_in_its_last_epoch(project_copy: Path) -> None:
    replace(project_copy / "conf/training/fast.yaml", "precision: float32", "precision: mixed_bfloat16")
    run(project_copy, "dvc", "repro", "evaluate@fast")
    assert_evaluation_agrees_with_history(project_copy / "runs/mnist/fast")


@pytest.mark.slow
def test_a_copy_is_independent_of_the_original(repro_project: Path, tmp_path: Path) -> None:
    copy_project(repro_project, tmp_path / "project")
    copy_project(tmp_path / "project", tmp_path / "copy")
    shutil.rmtree(tmp_path / "project")
    shutil.rmtree(tmp_path / "copy/runs")
    run(tmp_path / "copy", "dvc", "checkout")
    assert would_run(tmp_path / "copy") == []
