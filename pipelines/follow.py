"""Both ends of live tracking: a training hands each epoch to another process, which writes it to MLflow.

The process of its own is why MLflow, whatever happens to it, can neither stop nor change a training.
"""

import json
import os
import subprocess
import sys
from contextlib import suppress
from types import TracebackType
from typing import Self

from mnist_cnn import paths, results
from mnist_cnn.errors import InputError
from mnist_cnn.results import Execution

SECONDS_TO_FINISH = 30  # that the end of a training waits for a slow tracking server


class Follower:
    """The end that trains, a context manager. It never waits for the other end, but at the end of the training."""

    def __init__(self, execution: Execution, experiment: str, by_hand: bool) -> None:
        """Start following.

        Args:
            execution: that is about to start.
            experiment: of MLflow.
            by_hand: no later stage records the result, so the follower does.
        """
        self._by_hand, self._later = by_hand, _later(execution)
        read_end, self._pipe = os.pipe()
        os.set_blocking(self._pipe, False)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.follow"],
            stdin=read_end,
            cwd=paths.ROOT,
            process_group=0,  # Ctrl-C ends the training; the follower then marks the record
        )
        os.close(read_end)
        self._send({"experiment": experiment, "execution": execution.to_json()})

    def epoch(self, epoch: int, values: dict[str, float]) -> None:
        """Hand over an epoch, from 1, and its row of the history."""
        self._send({"epoch": epoch, "values": values})

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        """Tell how the training ended, and give the follower a while to write it down."""
        self._send({"failed": kind is not None, "by_hand": self._by_hand and kind is None})
        os.close(self._pipe)
        try:
            self._process.wait(SECONDS_TO_FINISH)
        except subprocess.TimeoutExpired:
            self._process.kill()
            print(f"Warning: MLflow is too slow to follow. {self._later}", file=sys.stderr)

    def _send(self, message: object) -> None:
        with suppress(OSError):  # it has ended with a warning of its own, or is so slow that the pipe is full
            os.write(self._pipe, json.dumps(message).encode() + b"\n")


def main() -> None:
    """Be the other end: follow a training until it has finished, failed or been cut off."""
    from mnist_cnn.tracking.live import LiveRun
    from mnist_cnn.tracking.record import record
    from mnist_cnn.tracking.store import Store

    begin = json.loads(sys.stdin.readline())
    execution = Execution.from_json(begin["execution"])
    name = execution.input.run
    try:
        store = Store(begin["experiment"])
        run = LiveRun(store, execution)
        if run.recorded:
            print(f"MLflow has a result of this input already: run {', '.join(run.recorded)}", flush=True)
        for line in sys.stdin:
            message = json.loads(line)
            if "epoch" in message:
                run.epoch(message["epoch"], message["values"])
                continue
            run.end("FAILED" if message["failed"] else None)
            if message["by_hand"]:
                print(f"Recorded {name} as MLflow run {record(store, results.read(name)).run_id}", flush=True)
            return
        run.end("KILLED")
    except (InputError, FileNotFoundError) as error:
        print(f"Warning: {error} The training is not affected. {_later(execution)}", file=sys.stderr)


def _later(execution: Execution) -> str:
    return f"Record it later: python -m pipelines.track run={execution.input.run}"


if __name__ == "__main__":
    main()
