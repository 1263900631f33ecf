"""Time the recording of one more result, in an empty MLflow store and in a store with 1,000 runs.

python -m benchmarks.tracking      takes some minutes; needs a completed `dvc repro`
"""

import os
import statistics
import sys
import tempfile
import time
from dataclasses import replace

from image_classifier.provenance.result import Result, read_result
from image_classifier.track.store import Store
from image_classifier.track.writer import record_result

RUNS, REPETITIONS = 1000, 5


def seconds(store: Store, template: Result, number: int) -> float:
    """Record a result that differs from all others in its number, and return the duration."""
    result = replace(
        template,
        input=replace(template.input, files={**template.input.files, "number": str(number)}),
        outputs={**template.outputs, "number": str(number)},
    )
    started = time.perf_counter()
    record_result(store, result)
    return time.perf_counter() - started


def main() -> None:
    template = read_result(sys.argv[1] if len(sys.argv) > 1 else "sgd_32")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        store = Store("benchmark")
        seconds(store, template, 0)  # imports Keras
        empty = [seconds(store, template, number) for number in range(1, 1 + REPETITIONS)]
        for number in range(1 + REPETITIONS, RUNS):
            seconds(store, replace(template, is_pipeline_run=False), number)
        full = [seconds(store, template, number) for number in range(RUNS, RUNS + REPETITIONS)]
    for name, times in (("fewer than 7 runs", empty), (f"{RUNS} runs", full)):
        print(f"{name}: {statistics.median(times):.2f} s ({min(times):.2f} to {max(times):.2f}, n={len(times)})")
    print(f"ratio of the medians: {statistics.median(full) / statistics.median(empty):.2f}")


if __name__ == "__main__":
    main()
