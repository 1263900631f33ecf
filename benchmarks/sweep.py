"""Compare a sweep of trials that run side by side, one thread each, with a sweep of trials that use all cores in turn.

python -m benchmarks.sweep      takes about ten minutes on two cores; needs the data: dvc repro prepare
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

from image_classifier import paths

REPETITIONS, TRIALS = 3, 4


def seconds(cpus_per_trial: int, first_seed: int) -> float:
    """Run a new sweep with its own MLflow store, and return the duration of the whole command."""
    seeds = ",".join(str(seed) for seed in range(first_seed, first_seed + TRIALS))
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "DVC_ROOT": folder}  # folder of the store
        environment.pop("MLFLOW_TRACKING_URI", None)
        command = [sys.executable, "-m", "pipelines.train", "-m", "batch_size=128", "epochs=1"]
        started = time.perf_counter()
        subprocess.run(
            [*command, f"training.seed={seeds}", f"sweep.cpus_per_trial={cpus_per_trial}"],
            cwd=paths.ROOT,
            env=environment,
            check=True,
            capture_output=True,
        )
        return time.perf_counter() - started


def main() -> None:
    cores = os.cpu_count() or 1
    times: dict[int, list[float]] = {1: [], cores: []}
    for repetition in range(REPETITIONS):  # interleaved, because the machine may be shared
        for cpus_per_trial in (1, cores):
            times[cpus_per_trial].append(seconds(cpus_per_trial, 1000 + repetition * TRIALS))
    for cpus_per_trial, taken in times.items():
        spread = f"{min(taken):.0f} to {max(taken):.0f}, n={len(taken)}"
        median = statistics.median(taken)
        print(f"{TRIALS} trials with {cpus_per_trial} of {cores} CPUs each: {median:.0f} s ({spread})")
    print(f"ratio of the medians: {statistics.median(times[1]) / statistics.median(times[cores]):.2f}")


if __name__ == "__main__":
    main()
