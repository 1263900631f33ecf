"""Time the work around one training after a change of a value, and write benchmarks/turn.json.

python -m benchmarks.turn          takes five minutes; works in a clone of the last commit

CPU seconds (user and system, of a process and its children) vary less than wall seconds when others use the machine.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil

from benchmarks.measure import clone, environment, machine_facts, run, say
from benchmarks.scaling import ALL, UP_TO_DATE, copy_runs, slice_data, write_table

REPETITIONS, FEW = 3, 4
TRAIN_IMAGES, TEST_IMAGES = 500, 200
REPRO = ("dvc", "repro")
KERAS = "import image_classifier.environment as e\nwith e.tensorflow_import(): import keras"
FLOORS = {
    "`python -c pass`": (sys.executable, "-c", "pass"),
    "`dvc version`": ("dvc", "version"),
    "import of MLflow": (sys.executable, "-c", "import mlflow"),
    "import of TensorFlow": (sys.executable, "-c", "import tensorflow"),
    "import of Keras, as the stages do it": (sys.executable, "-c", KERAS),
}
LOADS: list[float] = []  # average number of running processes after each measurement, including its own
RESULTS = Path(__file__).with_name("turn.json")
Samples = dict[str, list[tuple[float, float]]]  # CPU seconds and wall seconds


def measure(
    command: Sequence[str], project: Path, on_line: Callable[[str, float], None] = lambda _line, _cpu: None
) -> tuple[float, float]:
    """Run a command, and return its CPU and wall seconds.

    Args:
        command: Program and arguments.
        project: Working directory.
        on_line: Receives each line that the command prints, and the CPU seconds until then.

    Raises:
        subprocess.CalledProcessError: The command fails.
    """
    started, before = time.perf_counter(), os.times()
    with subprocess.Popen(
        command, cwd=project, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        watched = psutil.Process(process.pid)
        printed = []
        for line in process.stdout or ():
            printed.append(line)
            on_line(line, sum(watched.cpu_times()[:4]))
    wall, after = time.perf_counter() - started, os.times()
    if process.returncode:
        say("".join(printed))
        raise subprocess.CalledProcessError(process.returncode, command)
    LOADS.append(os.getloadavg()[0])
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return cpu, wall


def add_run(project: Path, samples: Samples) -> None:
    """Run `dvc repro` after a row was added, and add the seconds of each stage, including DVC's work after it."""
    stage, since = "start of DVC", (0.0, time.perf_counter())

    def on_line(line: str, cpu: float) -> None:
        nonlocal stage, since
        if started := re.match(r"Running stage '(\w+)", line):
            now = time.perf_counter()
            samples[stage].append((cpu - since[0], now - since[1]))
            stage, since = f"`{started[1]}`", (cpu, now)

    begun = since[1]
    cpu, wall = measure(REPRO, project, on_line)
    samples[stage].append((cpu - since[0], begun + wall - since[1]))
    samples["one more run"].append((cpu, wall))


def idle(project: Path, name: str, samples: Samples) -> None:
    """Time `dvc repro` with nothing to do."""
    if UP_TO_DATE not in run(REPRO, project):
        raise RuntimeError("`dvc repro` had something to do")
    samples[name] = [measure(REPRO, project) for _ in range(REPETITIONS)]


def main() -> None:
    samples: Samples = defaultdict(list)
    with clone() as project:
        slice_data(project, TRAIN_IMAGES, TEST_IMAGES)
        say("One run")
        write_table(project, ["adam"])
        measure(REPRO, project)
        for count in range(1, 1 + REPETITIONS):
            say(f"One more run, {count} of {REPETITIONS}")
            write_table(project, ["adam", *["sgd"] * count])
            add_run(project, samples)
        say("Nothing to do")
        idle(project, f"nothing to do, {FEW} runs", samples)
        copy_runs(project, range(FEW, ALL))
        idle(project, f"nothing to do, {ALL} runs", samples)
        say("Floors")
        for _ in range(REPETITIONS):
            for name, command in FLOORS.items():
                samples[name].append(measure(command, project))
    seconds = {
        name: {kind: [round(sample[index], 2) for sample in taken] for index, kind in enumerate(("cpu", "wall"))}
        for name, taken in samples.items()
    }
    results = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "images": [TRAIN_IMAGES, TEST_IMAGES],
        "load": [round(min(LOADS), 1), round(max(LOADS), 1)],
        **machine_facts("python"),
        "seconds": seconds,
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
