"""Time how cost grows with the work, on a slice of the data, and write benchmarks/scaling.json.

python -m benchmarks.scaling       takes five minutes; works in a clone of the last commit

CPU seconds (user and system, of a process and its children) vary less than wall seconds when others use the machine.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil
import typer

from benchmarks.measure import clone, conditions, environment, replace, run, say
from image_classifier import paths
from image_classifier.cli import app

TRAIN_IMAGES, TEST_IMAGES = 500, 200
SINGLE, MANY, ALL, REPETITIONS = 3, 5, 50, 3
REPRO = ("dvc", "repro")
UP_TO_DATE = "Data and pipelines are up to date."
STAGES = sorted(file.stem for file in paths.CONF.glob("*.yaml") if file.stem != "base")
SUBCOMMANDS = sorted(typer.main.get_group(app).commands)
KERAS = "import image_classifier.environment as e\nwith e.tensorflow_import(): import keras"
FLOORS = {
    "`python -c pass`": (sys.executable, "-c", "pass"),
    "`dvc version`": ("dvc", "version"),
    "import of MLflow": (sys.executable, "-c", "import mlflow"),
    "import of TensorFlow": (sys.executable, "-c", "import tensorflow"),
    "import of Keras, as the stages do it": (sys.executable, "-c", KERAS),
}
LOADS: list[float] = []  # average number of running processes after each measurement, including its own
RESULTS = Path(__file__).with_name("scaling.json")
Times = tuple[float, float]  # CPU seconds and wall seconds


def measure(command: Sequence[str], project: Path = paths.ROOT, code: int = 0) -> tuple[Times, dict[str, Times]]:
    """Run a command; return its times and, if it is `dvc repro`, the times of its stages with DVC's work after them.

    Args:
        command: Program and arguments.
        project: Working directory.
        code: Expected exit code.

    Raises:
        subprocess.CalledProcessError: The exit code is another one.
    """
    before, began = os.times(), time.perf_counter()
    stage, since, stages = "start of DVC", (0.0, began), {}
    with subprocess.Popen(
        command, cwd=project, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        watched = psutil.Process(process.pid)
        printed = []
        for line in process.stdout or ():
            printed.append(line)
            if started := re.match(r"Running stage '(\w+)", line):
                now = (sum(watched.cpu_times()[:4]), time.perf_counter())
                stages[stage] = (now[0] - since[0], now[1] - since[1])
                stage, since = f"`{started[1]}`", now
    after, ended = os.times(), time.perf_counter()
    if process.returncode != code:
        say("".join(printed))
        raise subprocess.CalledProcessError(process.returncode, command)
    LOADS.append(os.getloadavg()[0])
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    stages[stage] = (cpu - since[0], ended - since[1])
    return (cpu, ended - began), stages


def write_table(project: Path, optimizers: Iterable[str]) -> None:
    """Write a params.yaml with a run for each of these optimizers."""
    rest = "batch_size: 128, epochs: 1, training: default"
    names = {f"run_{number}": optimizer for number, optimizer in enumerate(optimizers)}
    rows = [f"  {name}: {{data: mnist, model: cnn, optimizer: {used}, {rest}}}\n" for name, used in names.items()]
    datasets = "datasets:\n  mnist: {path: conf/data/mnist.yaml}\n"
    (project / "params.yaml").write_text(f"{datasets}runs:\n{''.join(rows)}", encoding="utf-8")


def copy_runs(project: Path, numbers: range) -> None:
    """Add runs to the table that have the files of the second run, instead of training them."""
    write_table(project, ["adam", *["sgd"] * (numbers.stop - 1)])
    for number in numbers:
        for folder in ("plots/mnist", "runs/mnist"):
            shutil.copytree(project / folder / "run_1", project / folder / f"run_{number}")
        shutil.copy(project / "run_metadata/run_1.tracked", project / f"run_metadata/run_{number}.tracked")
    run(["dvc", "commit", "--force"], project)


def slice_data(project: Path) -> None:
    """Let a project without results use few images."""
    replace(project / "conf/data/mnist.yaml", "train_examples: 60000", f"train_examples: {TRAIN_IMAGES}")
    replace(project / "conf/data/mnist.yaml", "test_examples: 10000", f"test_examples: {TEST_IMAGES}")
    (project / "dvc.lock").unlink()


def grow(project: Path, samples: dict[str, list[Times]]) -> list[str]:
    """Add runs to a project, edit an optimizer, and run `dvc repro` with nothing to do.

    Args:
        project: Project without results.
        samples: Receives the times.

    Returns:
        The stages of training that run after the edit.
    """
    say("Scaling: one run after the other")
    write_table(project, ["adam"])
    measure(REPRO, project)
    for count in range(1, 1 + SINGLE):
        write_table(project, ["adam", *["sgd"] * count])
        times, stages = measure(REPRO, project)
        for stage, stage_times in stages.items():
            samples[stage].append(stage_times)
        samples["one more run"].append(times)
    say(f"Scaling: {MANY} runs")
    write_table(project, ["adam", *["sgd"] * (SINGLE + MANY)])
    samples[f"{MANY} more runs"].append(measure(REPRO, project)[0])

    say("Scaling: an edit")
    replace(project / "conf/optimizer/adam.yaml", "beta_1: 0.9", "beta_1: 0.8")
    trained = re.findall(r"^Running stage '(train@.+)':", run(REPRO, project), re.MULTILINE)

    say(f"Scaling: {ALL} runs")
    copy_runs(project, range(1 + SINGLE + MANY, ALL))
    if UP_TO_DATE not in run(REPRO, project):
        raise RuntimeError("`dvc repro` had something to do")
    samples[f"nothing to do, {ALL} runs"] = [measure(REPRO, project)[0] for _ in range(REPETITIONS)]
    return trained


def answers() -> dict[str, list[Times]]:
    """Time the answers that commands give before they start to work; return the times of the slowest command."""
    say("Scaling: answers of the commands")
    stages = {stage: [sys.executable, "-m", f"pipelines.{stage}"] for stage in STAGES}
    subcommands = {name: ["image-classifier", name] for name in SUBCOMMANDS}
    cases = [
        ("`--help`", "stages", stages, "--help", 0),
        ("an unknown key", "stages", stages, "nonsense=1", 1),
        ("`--help`", "subcommands", subcommands, "--help", 0),
    ]
    slowest = {}
    for answer, kind, commands, argument, code in cases:
        taken = {
            name: sorted(measure([*line, argument], code=code)[0] for _ in range(REPETITIONS))
            for name, line in commands.items()
        }
        name = max(taken, key=lambda name: taken[name][REPETITIONS // 2])
        slowest[f"{answer}, slowest of {len(commands)} {kind} (`{name}`)"] = taken[name]
    return slowest


def main() -> None:
    samples: dict[str, list[Times]] = defaultdict(list)
    with clone() as project:
        slice_data(project)
        trained = grow(project, samples)
    for _ in range(REPETITIONS):
        for name, command in FLOORS.items():
            samples[name].append(measure(command)[0])
    samples.update(answers())
    results = {
        **conditions("python"),
        "images": [TRAIN_IMAGES, TEST_IMAGES],
        "load": [round(min(LOADS), 1), round(max(LOADS), 1)],
        "runs": 1 + SINGLE + MANY,
        "trained_after_an_edit": trained,
        "seconds": {
            name: {kind: [round(times[index], 2) for times in taken] for index, kind in enumerate(("cpu", "wall"))}
            for name, taken in samples.items()
        },
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
