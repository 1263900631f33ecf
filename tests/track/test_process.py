"""Live tracking in a process of its own."""

import io
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from tracking_helpers import epochs_of, logged, runs_of

from image_classifier import paths
from image_classifier.provenance.result import Result
from image_classifier.provenance.run_metadata import RunMetadata
from image_classifier.track import process, writer
from image_classifier.track.process import TrackingProcess
from image_classifier.track.store import Store

FINISHED = {"failed": False, "records_result": False}


def track(monkeypatch: pytest.MonkeyPatch, metadata: RunMetadata, *messages: object) -> None:
    """Run the child's side with the messages that its parent sends."""
    lines = [json.dumps(message) + "\n" for message in (asdict(metadata), *messages)]
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(lines)))
    process.main()


def epoch_messages(result: Result) -> list[object]:
    return [{"epoch": epoch, "values": values} for epoch, values in epochs_of(result).items()]


def test_the_training_process_does_not_import_mlflow() -> None:
    program = "import sys, image_classifier.track.process; sys.exit('mlflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=paths.ROOT / "src", check=True)


def test_the_run_of_a_finished_training_stays_open_for_its_result(
    store: Store, result: Result, metadata: RunMetadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    track(monkeypatch, metadata, *epoch_messages(result), FINISHED)
    (run,) = runs_of(store, result)
    assert run.info.status == "RUNNING"
    assert logged(store, run.info.run_id) == [(1, 0.6), (2, 0.3)]


def test_the_result_of_an_ad_hoc_run_is_recorded(
    store: Store,
    adhoc_result: Result,
    metadata: RunMetadata,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(writer, "read_result", {"sgd_32": adhoc_result}.__getitem__)
    track(monkeypatch, metadata, *epoch_messages(adhoc_result), {"failed": False, "records_result": True})
    (run,) = runs_of(store, adhoc_result)
    assert run.info.status == "FINISHED"
    assert capsys.readouterr().out == f"Recorded sgd_32 as MLflow run {run.info.run_id}\n"
    track(monkeypatch, metadata, FINISHED)
    assert capsys.readouterr().out == (
        f"MLflow run {run.info.run_id} already holds a result of the same configuration, data and code, "
        "so this training is not logged live.\n"
    )


@pytest.mark.parametrize(
    ("messages", "status"), [([{"failed": True, "records_result": False}], "FAILED"), ([], "KILLED")]
)
def test_a_training_without_a_result_has_a_closed_run(
    store: Store,
    result: Result,
    metadata: RunMetadata,
    monkeypatch: pytest.MonkeyPatch,
    messages: list[object],
    status: str,
) -> None:
    track(monkeypatch, metadata, *messages)
    (run,) = runs_of(store, result)
    assert run.info.status == status


@pytest.mark.usefixtures("no_store")
def test_an_unreachable_store_is_a_warning_with_the_command_for_later(
    metadata: RunMetadata, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    track(monkeypatch, metadata)
    error = capsys.readouterr().err
    assert error.startswith("Warning: MLflow at http://127.0.0.1:9: ")
    later = "The training is not affected. Record it later: python -m pipelines.track run=sgd_32\n"
    assert error.endswith(later)


def replace_python(monkeypatch: pytest.MonkeyPatch, folder: Path, command: str) -> None:
    """Let the tracking process be a shell command."""
    program = folder / "python"
    program.write_text(f"#!/bin/sh\n{command}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


def test_a_training_never_waits_for_a_slow_server(
    metadata: RunMetadata, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replace_python(monkeypatch, tmp_path, "exec sleep 60")
    monkeypatch.setattr(process, "SHUTDOWN_SECONDS", 0.1)
    with TrackingProcess(metadata, records_result=False) as tracker:
        for epoch in range(2000):  # more than the pipe holds
            tracker.log_epoch(epoch, {"loss": 0.5})
    assert capsys.readouterr().err.startswith("Warning: MLflow did not answer within 0.1 s. Record it later: ")


def test_a_killed_tracking_process_is_a_warning_with_the_command_for_later(
    metadata: RunMetadata, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replace_python(monkeypatch, tmp_path, "kill -9 $$")
    with TrackingProcess(metadata, records_result=True):
        pass
    later = "Record it later: python -m pipelines.track run=sgd_32\n"
    assert capsys.readouterr().err == f"Warning: The tracking process ended with exit code -9. {later}"


@pytest.mark.slow
@pytest.mark.parametrize(("error", "status"), [(None, "RUNNING"), (KeyboardInterrupt, "FAILED")])
def test_a_training_is_tracked_by_another_process(
    store: Store,
    result: Result,
    metadata: RunMetadata,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException] | None,
    status: str,
) -> None:
    monkeypatch.setattr(process, "SHUTDOWN_SECONDS", 120)
    try:
        with TrackingProcess(metadata, records_result=False) as tracker:
            for epoch, values in epochs_of(result).items():
                tracker.log_epoch(epoch, values)
            if error:
                raise error
    except KeyboardInterrupt:
        pass
    (run,) = runs_of(store, result)
    assert run.info.status == status
    assert logged(store, run.info.run_id) == [(1, 0.6), (2, 0.3)]
