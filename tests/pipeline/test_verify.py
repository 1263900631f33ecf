"""Verification: a recorded run is trained again, and its differences are named."""

from pathlib import Path

import pytest
from helpers import CLI, PYTHON, TRAIN, commit, replace, run, run_ids


def test_a_pipeline_run_is_verified_as_identical(project_copy: Path) -> None:
    (run_id,) = run_ids(project_copy, "sgd_128")
    printed = run(project_copy, CLI, "verify", run_id)
    assert "batch_size=128" in printed
    assert "Identical to the bit: every metric of every epoch, and model.h5." in printed
    assert len(run(project_copy, "git", "worktree", "list").splitlines()) == 1


@pytest.mark.slow
def test_a_run_of_an_experiment_is_verified_with_the_values_of_the_experiment(project_copy: Path) -> None:
    value = "runs.sgd_128.batch_size=256"
    run(project_copy, "dvc", "exp", "run", "--name", "wider", "--set-param", value, "track@sgd_128")
    run(project_copy, "git", "checkout", "--quiet", ".")
    printed = run(project_copy, CLI, "verify", *run_ids(project_copy, "sgd_128 (wider)"))
    assert "batch_size=256" in printed
    assert "Identical to the bit" in printed


@pytest.mark.slow
def test_a_row_that_was_committed_after_its_training_is_verified_with_its_committed_values(project_copy: Path) -> None:
    replace(
        project_copy / "params.yaml",
        "optimizer: sgd, batch_size: 128",
        "optimizer: sgd, batch_size: 200",
    )
    run(project_copy, "dvc", "repro", "track@sgd_128")
    commit(project_copy)
    printed = run(project_copy, CLI, "verify", run_ids(project_copy, "sgd_128")[-1])
    assert "batch_size=200" in printed
    assert "Identical to the bit" in printed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        ("conf/data/mnist.yaml", "train_examples: 500", "train_examples: 400", "data/prepared/mnist: "),
        (
            "conf/training/default.yaml",
            "intra_op_threads: 2",
            "intra_op_threads: 1",
            "training.intra_op_threads: 1 in the record, 2 now",
        ),
        (
            "src/image_classifier/train/loop.py",
            "(settings.seed, epoch)",
            "(settings.seed + 1, epoch)",
            "src/image_classifier/train: ",
        ),
    ],
    ids=["data", "threads", "code"],
)
def test_an_uncommitted_change_is_named(project_copy: Path, file: str, old: str, new: str, named: str) -> None:
    replace(project_copy / file, old, new)
    if "data" in file:
        run(project_copy, *PYTHON, "pipelines.prepare")
    run(project_copy, *TRAIN, "batch_size=128", "epochs=2", "run=changed")
    run(project_copy, "git", "checkout", "--quiet", ".")
    printed = run(project_copy, CLI, "verify", run_ids(project_copy, "changed")[-1], fails=True)
    assert "The first difference is in epoch " in printed or "model.h5 is not." in printed
    differences = printed.partition("Differences from the record:\n")[2].splitlines()
    assert len(differences) == 1
    assert differences[0].strip().startswith(named)


@pytest.mark.slow
def test_a_variable_that_decides_bits_is_named(project_copy: Path) -> None:
    (run_id,) = run_ids(project_copy, "sgd_128")
    printed = run(project_copy, CLI, "verify", run_id, "--tolerance", "1", TF_ENABLE_ONEDNN_OPTS="0")
    differences = printed.partition("Differences from the record:\n")[2].splitlines()
    assert differences == ["  variables: none in the record, TF_ENABLE_ONEDNN_OPTS=0 now"]


@pytest.mark.slow
def test_a_row_with_uncommitted_values_cannot_be_verified_until_it_is_committed(project_copy: Path) -> None:
    replace(project_copy / "params.yaml", "optimizer: sgd, batch_size: 128", "optimizer: sgd, batch_size: 200")
    run(project_copy, "dvc", "repro", "track@sgd_128")
    printed = run(project_copy, CLI, "verify", run_ids(project_copy, "sgd_128")[-1], fails=True)
    error = printed.splitlines()[-1]
    assert error.startswith("Error: commit ")
    assert error.endswith(
        " cannot repeat this training: run=sgd_128 is a row of params.yaml with other values. "
        "Commit the changes of params.yaml, type dvc repro, and verify the new result."
    )
    assert "image_classifier_" not in printed


@pytest.mark.slow
def test_a_run_that_mlflow_does_not_have_cannot_be_verified(repro_project: Path) -> None:
    printed = run(repro_project, CLI, "verify", "0" * 32, fails=True)
    assert "Error: MLflow at sqlite:///" in printed
    assert "0" * 32 in printed
