"""Live tracking in a process of its own, so that MLflow can neither stop nor change a training.

The training process starts this module as a child (`python -m image_classifier.track.process`) and sends it one line of
JSON for the metadata, for each epoch and for the end of the training.
"""

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pydantic import TypeAdapter

from image_classifier import paths
from image_classifier.errors import InputError

if TYPE_CHECKING:
    from image_classifier.provenance.run_metadata import RunMetadata

SHUTDOWN_SECONDS = 30  # time that the end of a training waits for a slow tracking server


class TrackingProcess:
    """Context manager around a training, which sends its epochs to a tracking process.

    Sending an epoch never blocks; only the exit waits for the process.
    """

    def __init__(self, metadata: "RunMetadata", *, records_result: bool) -> None:
        """Start the child.

        Args:
            metadata: Metadata of the training that starts.
            records_result: Whether the child records the result as well, because no later stage does.
        """
        self._records_result = records_result
        self._later = _record_later(metadata)
        read_end, self._pipe = os.pipe()
        os.set_blocking(self._pipe, False)
        search_path = os.pathsep.join(filter(None, [str(paths.ROOT / "src"), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "image_classifier.track.process"],
            stdin=read_end,
            cwd=paths.ROOT,
            env={**os.environ, "PYTHONPATH": search_path},
            process_group=0,  # Ctrl-C ends the training only; the child then marks the run as killed
        )
        os.close(read_end)
        self._send(asdict(metadata))

    def log_epoch(self, epoch: int, values: dict[str, float]) -> None:
        """Log an epoch, from 1, and its row of the history."""
        self._send({"epoch": epoch, "values": values})

    def __enter__(self) -> Self:
        """Return the tracking process."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        """Send the outcome of the training, and give the child some time to record it."""
        self._send({"failed": kind is not None, "records_result": self._records_result and kind is None})
        os.close(self._pipe)
        try:
            code = self._process.wait(SHUTDOWN_SECONDS)
            problem = f"The tracking process ended with exit code {code}." if code else ""
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            problem = f"MLflow did not answer within {SHUTDOWN_SECONDS} s."
        if problem:
            print(f"Warning: {problem} {self._later}", file=sys.stderr)

    def _send(self, message: object) -> None:
        with suppress(OSError):  # the child has ended with a warning, or is so slow that the pipe is full
            os.write(self._pipe, json.dumps(message).encode() + b"\n")


def main() -> None:
    """Log a training as its child process until it finishes, fails or is killed."""
    from image_classifier.provenance.run_metadata import RunMetadata
    from image_classifier.track.live import LiveRun
    from image_classifier.track.store import Store
    from image_classifier.track.writer import track_run

    metadata = TypeAdapter(RunMetadata).validate_json(sys.stdin.readline())
    try:
        run = LiveRun(Store(metadata.input.data), metadata)
        if run.runs_with_result:
            runs = ", ".join(run.runs_with_result)
            holds = f"MLflow run {runs} already holds a result of the same configuration, data and code"
            print(f"{holds}, so this training is not logged live.", flush=True)
        for line in sys.stdin:
            message = json.loads(line)
            if "epoch" in message:
                run.log_epoch(message["epoch"], message["values"])
                continue
            run.end("FAILED" if message["failed"] else None)
            if message["records_result"]:
                run_id = track_run(metadata.input.run)
                print(f"Recorded {metadata.input.run} as MLflow run {run_id}", flush=True)
            return
        run.end("KILLED")
    except (InputError, FileNotFoundError) as error:
        print(f"Warning: {error} The training is not affected. {_record_later(metadata)}", file=sys.stderr)


def _record_later(metadata: "RunMetadata") -> str:
    return f"Record it later: python -m pipelines.track run={metadata.input.run}"


if __name__ == "__main__":
    main()
