"""Time a sweep of short trials, and write benchmarks/sweep.json: python -m benchmarks.sweep. Takes about six minutes.

Each trial is one epoch on a slice of the data, in a clone of the last commit. A time is measured from the start of the
command to its end.
"""

import json
import sys
import time
from pathlib import Path

from benchmarks.measure import clone, conditions, run, say
from benchmarks.scaling import TEST_IMAGES, TRAIN_IMAGES, slice_data

REPETITIONS, TRIALS = 3, 24
RESULTS = Path(__file__).with_name("sweep.json")


def main() -> None:
    seconds = []
    with clone() as project:
        slice_data(project)
        run(["dvc", "repro", "prepare"], project)
        for repetition in range(REPETITIONS):
            say(f"Sweep {repetition + 1} of {REPETITIONS}")
            first = 1 + repetition * TRIALS  # other seeds, because trials that are complete are not repeated
            seeds = ",".join(str(seed) for seed in range(first, first + TRIALS))
            settings = ["batch_size=128", "epochs=1", f"training.seed={seeds}"]
            began = time.perf_counter()
            run([sys.executable, "-m", "pipelines.train", "-m", *settings], project)
            seconds.append(round(time.perf_counter() - began, 1))
    results = {**conditions(), "images": [TRAIN_IMAGES, TEST_IMAGES], "trials": TRIALS, "seconds": seconds}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
