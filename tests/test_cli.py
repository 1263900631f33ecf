import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import git
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from image_classifier import doctor, paths
from image_classifier.cli import app, complete_run, find_project
from image_classifier.doctor import Problem
from image_classifier.provenance import revision, verify
from image_classifier.provenance.fingerprint import TrainingInput
from image_classifier.provenance.result import RecordedRun

SUBCOMMANDS = (
    "add-data",
    "add-run",
    "audit",
    "backfill",
    "compare",
    "doctor",
    "errors",
    "export",
    "predict",
    "promote",
    "replicate",
    "report",
    "results",
    "serve",
    "ui",
    "verify",
)
HEAVY = {"dvc", "git", "hydra", "keras", "matplotlib", "mlflow", "numpy", "omegaconf", "pandas", "ray", "tensorflow"}


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, prog_name="image-classifier")


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own that lists its imports on standard error."""
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "image_classifier.cli", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(paths.ROOT / "src"), **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def imports(completed: subprocess.CompletedProcess[str]) -> set[str]:
    """Return the top-level packages that a process imported."""
    lines = [line for line in completed.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(paths.ROOT)


@pytest.fixture
def other_project(tmp_path: Path) -> Path:
    """A project with a library of its own, whose promote has another help text."""
    project = tmp_path / "other"
    shutil.copytree(paths.ROOT / "src", project / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(paths.ROOT / name, project / name)
    library = project / "src/image_classifier/cli.py"
    text = library.read_text()
    assert "Make a run the champion, which is served, if it is better." in text
    library.write_text(text.replace("Make a run the champion, which is served, if it is better.", "The other library."))
    return project


def test_help_lists_every_subcommand() -> None:
    printed = invoke("--help").stdout
    assert tuple(sorted(line.split()[0] for line in printed.partition("Commands:\n")[2].splitlines())) == SUBCOMMANDS
    assert "..." not in printed.partition("Commands:\n")[2]  # no sentence is cut off


@pytest.mark.parametrize("subcommand", SUBCOMMANDS)
def test_the_help_of_a_subcommand_has_an_example(subcommand: str) -> None:
    result = invoke(subcommand, "--help")
    assert result.exit_code == 0
    assert f"Example: image-classifier {subcommand}" in result.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["replicate", "--help"], ["serve", "--port", "0"]])
def test_help_and_usage_errors_import_no_large_library(arguments: list[str]) -> None:
    completed = run(paths.ROOT, *arguments)
    assert "typer" in imports(completed)
    assert not imports(completed) & HEAVY


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["promote", "sgd_32", "--force", " "],
            "Error: --force needs a reason, which is recorded: image-classifier promote",
        ),
        (
            ["promote", "--undo", "--data", "pets"],
            "Error: data=pets is not a data set of params.yaml. Choose one of: mnist.",
        ),
        (["promote", "unknown"], "Error: run=unknown is not a row of params.yaml or a trained run in outputs/. Choose"),
        (["replicate", "sgd_32", "unknown"], "Error: run=unknown is not a row of params.yaml. Choose one of: "),
        (["replicate", "sgd_32", "--address", "nowhere"], "Error: sweep.address=nowhere: "),
        (
            ["export", "a", "--format", "saved_model", "--quantize", "int8"],
            "Error: --quantize int8: a SavedModel cannot",
        ),
        (["verify", "abc"], "Error: abc is not the name of a run (sgd_32, "),
        (
            ["add-run", "123", "best"],
            "Error: SOURCE=123: should be the 10 hexadecimal digits that a sweep printed, or a ",
        ),
        (["add-data", "../pets", "--from", "."], "Error: NAME=../pets: should have at most 100 letters, "),
        (
            ["add-data", "mnist", "--from", "."],
            "Error: NAME=mnist is a data set, a run or a file of conf/data/ already.",
        ),
        (["audit", "mnist", "--run", "unknown"], "Error: run=unknown is not a run of mnist in params.yaml. Choose one"),
        (["audit", "unknown"], "Error: data=unknown: no row of params.yaml is trained on it. Choose one of: mnist."),
        (["add-run", "0123456789", "../best"], "Error: NAME=../best: should have at most 100 letters, "),
        (["add-run", "0123456789", "a" * 101], f"Error: NAME={'a' * 101}: should have at most 100 letters, "),
        (["add-run", "0123456789", "sgd_32"], "Error: NAME=sgd_32 is a row of params.yaml already."),
    ],
)
def test_a_mistake_ends_with_one_line_and_exit_code_1(arguments: list[str], message: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 1
    assert result.output.startswith(message)
    assert result.output.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["unknown"],
        ["compare", "sgd_32"],
        ["replicate"],
        ["report"],
        ["replicate", "sgd_32", "--seeds", "1"],
        ["replicate", "sgd_32", "--cpus-per-trial", "0"],
        ["replicate", "sgd_32", "--cpus-per-trial", "1025"],
        ["replicate", "sgd_32", "--seeds", "1001"],
        ["verify"],
        ["verify", "0" * 32, "--tolerance", "-1"],
        ["serve", "--port", "65536"],
        ["promote"],
        ["promote", "sgd_32", "sgd_128"],
        ["promote", "sgd_32", "--undo"],
        ["promote", "sgd_32", "--data", "mnist"],
        ["promote", "--undo", "--history"],
        ["promote", "--undo", "--force", "a reason"],
        ["export", "sgd_32"],
        ["export", "sgd_32", "--format", "pb"],
        ["export", "sgd_32", "--format", "onnx", "--max-difference", "-1"],
        ["add-data", "pets"],
        ["add-data", "pets", "--from", ".", "--size", "3"],
    ],
)
def test_a_usage_error_has_exit_code_2(arguments: list[str]) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert "Usage: image-classifier" in result.stderr


def test_a_mistake_is_reported_before_tensorflow_is_imported() -> None:
    completed = run(paths.ROOT, "promote", "unknown")
    assert completed.returncode == 1
    assert not imports(completed) & {"keras", "mlflow", "tensorflow"}


def test_the_doctor_prints_problems_with_their_fixes(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_problems(*, config_only: bool) -> Iterator[Problem]:
        assert not config_only
        yield Problem("It is broken.", "dvc repro")

    monkeypatch.setattr(doctor, "find_problems", find_problems)
    result = invoke("doctor")
    assert (result.exit_code, result.output) == (1, "It is broken.\n    Fix: dvc repro\n")


def test_the_doctor_confirms_a_valid_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor, "find_problems", lambda *, config_only: iter([] if config_only else [Problem("a", "b")])
    )
    result = invoke("doctor", "--config-only")
    assert (result.exit_code, result.output) == (0, "conf/ and params.yaml are valid.\n")


def test_an_interrupted_command_has_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*, config_only: bool) -> NoReturn:  # noqa: ARG001
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "find_problems", interrupt)
    assert invoke("doctor").exit_code == 130


def test_a_drawing_in_an_unknown_format_is_refused_before_the_model_is_loaded() -> None:
    result = invoke("predict", "sgd_32", "seven.png", "--show", "seen.xyz")
    assert result.exit_code == 1
    assert result.output == (
        "Error: --show seen.xyz: should end with one of: .png, .jpg, .jpeg, .webp, .tif, .tiff, .pdf, .svg.\n"
    )


def test_an_interrupted_verification_removes_its_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    project = git.Repo.init(tmp_path / "project")
    project.git.execute(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--allow-empty", "--message", "first"]
    )
    commit = project.git.rev_parse("HEAD")
    training = TrainingInput("a", "", "", {})
    record = RecordedRun("0" * 32, training, "", commit, "nothing", {}, pd.DataFrame(), "", None, 60)
    checkouts = []

    def interrupt(root: Path, _training: TrainingInput) -> NoReturn:
        checkouts.append(root)
        assert root.exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(revision, "open_repository", lambda: project)
    monkeypatch.setattr("image_classifier.track.reader.Store", lambda _experiment: None)
    monkeypatch.setattr("image_classifier.track.reader.read_run", lambda _store, _run_id: record)
    monkeypatch.setattr(verify, "find_commit", lambda _fingerprint: None)
    monkeypatch.setattr(verify, "_train_again", interrupt)
    assert invoke("verify", "0" * 32).exit_code == 130
    (checkout,) = checkouts
    assert not checkout.exists()
    assert project.git.worktree("list").count("\n") == 0


def test_a_subcommand_outside_of_a_project_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke("promote", "sgd_32")
    assert result.exit_code == 1
    assert result.output.startswith(
        f"Error: {tmp_path} is not in the project. Change to your clone, which has pyproject.toml"
    )
    assert invoke("promote", "--help").exit_code == 0


def test_a_project_is_found_from_a_folder_in_it() -> None:
    assert find_project(paths.CONF / "optimizer") == paths.ROOT
    assert find_project(paths.ROOT.parent) is None


def test_a_project_uses_its_own_library(other_project: Path) -> None:
    completed = run(other_project / "src", "promote", "--help")
    assert completed.returncode == 0
    assert "The other library." in completed.stdout


def test_a_linked_library_is_recognized(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "src"):
        (tmp_path / name).symlink_to(paths.ROOT / name)
    completed = run(tmp_path, "promote", "unknown")
    assert "Error: run=unknown is not a row of params.yaml or " in completed.stderr


def test_the_shell_completes_subcommands_and_rows() -> None:
    words = {"_IMAGE_CLASSIFIER_COMPLETE": "complete_bash", "COMP_CWORD": "1", "COMP_WORDS": "image-classifier prom"}
    assert run(paths.ROOT, **words).stdout.split() == ["promote"]
    assert complete_run("sgd") == ["sgd_32", "sgd_128"]


@pytest.mark.parametrize("text", ["5", "runs: [", "runs: 3"])
def test_a_damaged_params_yaml_completes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "PARAMS", tmp_path / "params.yaml")
    assert complete_run("sgd") == []


def test_optimized_python_shows_the_same_help(tmp_path: Path) -> None:
    plain, optimized = (run(tmp_path, "verify", "--help", PYTHONOPTIMIZE=level) for level in ("", "2"))
    assert "Train a recorded run again" in plain.stdout
    assert optimized.stdout == plain.stdout
