"""Time the pipeline against the notebook's loops, PyTorch and the machine: python -m benchmarks.training.

Everything is measured in turn, round after round, as the machine may be shared. Takes forty minutes on two cores.
"""

import importlib.util
import json
import math
import re
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

from tabulate import tabulate

from benchmarks.measure import Times, clone, environment, median, ratio, replace, run, say, seconds, timed
from mnist_cnn import configuration, paths, schema
from mnist_cnn.schema import Row

ROUNDS = 3
TRAIN_IMAGES, TEST_IMAGES = 60_000, 10_000
EPOCHS = 2  # of a run of the notebook: the first, which also builds the graph, and one that stands for all others
LOOP_EPOCHS = 4  # of the notebook's loops, whose epochs differ more: see `report`
ROWS = configuration.load_table(paths.PARAMS)
NOTEBOOK = {name: ROWS[name] for name in ("sgd_32", "sgd_128", "adadelta_128")}
REFERENCE, FAST = "adadelta_128", "fast"
IMPORTING = {"diagram", "train", "evaluate", "track"}  # Keras
KERAS = "from pipelines.command import heavy_imports\nwith heavy_imports(): import keras"  # as the stages do it


@dataclass
class Pipeline:
    """One `dvc repro` of everything.

    Attributes:
        stages: seconds of each stage, with what DVC does after it.
        epochs: seconds of the epochs of each run.
    """

    stages: dict[str, float]
    epochs: dict[str, list[float]]

    def around(self, runs: dict[str, Row]) -> float:
        """Return the seconds that were no training, without the stages of other runs."""
        taken = sum(of for stage, of in self.stages.items() if "@" not in stage or stage.split("@")[1] in runs)
        return taken - sum(sum(self.epochs[name]) for name in runs)


@dataclass
class Round:
    """What is measured side by side.

    Attributes:
        notebook: seconds of the epochs of the notebook's loops.
        pytorch: the same of the reference in PyTorch; None if it is not installed.
        rates: of matrix multiplication, in GFLOP/s.
        layers: seconds of a gradient step of the reference in each layer.
        keras: seconds of a process that imports Keras, and does nothing else.
        pipeline: everything.
    """

    notebook: dict[str, list[float]]
    pytorch: list[float] | None
    rates: dict[str, list[float]]
    layers: dict[str, float]
    keras: float
    pipeline: Pipeline

    def of_notebook(self) -> float:
        """Return the seconds of the notebook's loops, all epochs."""
        return sum(full(self.notebook[name], row) for name, row in NOTEBOOK.items())

    def of_pipeline(self, runs: dict[str, Row]) -> float:
        """Return the seconds of the pipeline with these runs alone, all epochs."""
        return self.pipeline.around(runs) + sum(full(self.pipeline.epochs[name], row) for name, row in runs.items())


def full(epochs: Times, row: Row) -> float:
    """Add the epochs that were left out: each as long as the mean of those after the first."""
    return sum(epochs) + (row.epochs - len(epochs)) * later(epochs)


def later(epochs: Times) -> float:
    """Return the mean seconds of an epoch after the first."""
    return statistics.mean(epochs[1:])


def loop(library: str, row: Row, epochs: int) -> list[float]:
    """Train without the pipeline, in a process of its own; seconds of each epoch."""
    command = [sys.executable, "-m", "benchmarks.loop", library, row.optimizer, str(row.batch_size), str(epochs)]
    return [float(taken) for taken in json.loads(run(command).splitlines()[-1])]


def repro() -> Pipeline:
    """Run `dvc repro` where nothing has been run, and watch its stages."""
    with clone() as project:
        for epochs in {row.epochs for row in NOTEBOOK.values()}:
            replace(project / "params.yaml", f"epochs: {epochs},", f"epochs: {EPOCHS},")
        (project / "dvc.lock").unlink()
        stages, name, last = {}, "start of DVC", time.perf_counter()
        with subprocess.Popen(
            ["dvc", "repro"],
            cwd=project,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            printed = []
            for line in process.stdout or ():
                printed.append(line)
                if started := re.match(r"Running stage '(.+)':", line):
                    stages[name], last, name = time.perf_counter() - last, time.perf_counter(), started[1]
        stages[name] = time.perf_counter() - last
        if process.returncode:
            say("".join(printed))
            raise subprocess.CalledProcessError(process.returncode, "dvc repro")
        executions = [json.loads(file.read_text()) for file in (project / "executions").glob("*.json")]
        return Pipeline(stages, {of["input"]["run"]: of["epoch_seconds"] for of in executions})


def measure(number: int) -> Round:
    say(f"Round {number} of {ROUNDS}: the notebook's loops")
    notebook = {name: loop("keras", row, LOOP_EPOCHS) for name, row in NOTEBOOK.items()}
    pytorch = None
    if importlib.util.find_spec("torch"):
        say(f"Round {number} of {ROUNDS}: PyTorch")
        pytorch = loop("pytorch", NOTEBOOK[REFERENCE], EPOCHS)
    say(f"Round {number} of {ROUNDS}: matrix multiplication, layers")
    rates = json.loads(run([sys.executable, "-m", "benchmarks.machine"]).splitlines()[-1])
    layers = json.loads(run([sys.executable, "-m", "benchmarks.layers", REFERENCE]).splitlines()[-1])
    say(f"Round {number} of {ROUNDS}: dvc repro")
    return Round(notebook, pytorch, rates, layers, timed([sys.executable, "-c", KERAS]), repro())


def operations() -> dict[str, tuple[int, int]]:
    """Count the floating-point operations of the model for an image, two for a multiplication and its addition.

    Only those of convolutions and dense layers count. Backward a layer has twice the forward's, for its weights and for
    its input; the first one needs none for its input.

    Returns:
        For each of these layers: forward, and forward with backward.
    """
    import keras

    from mnist_cnn import model

    diagram = configuration.resolve(schema.Diagram, configuration.compose("diagram", [], paths.CONF))
    counted: dict[str, tuple[int, int]] = {}
    for layer in model.build(**diagram.model.model_dump()).layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            forward = 2 * math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:-1])
            counted[layer.name] = (forward, 3 * forward if counted else 2 * forward)
    return counted


def report(rounds: list[Round]) -> str:
    """Write everything down in Markdown."""
    ours = {name: [of.pipeline.epochs[name][-1] for of in rounds] for name in ROWS}
    theirs = {name: [later(of.notebook[name]) for of in rounds] for name in NOTEBOOK}
    every = {name: [taken for of in rounds for taken in of.notebook[name][1:]] for name in NOTEBOOK}
    counted = operations()
    forward, both = (sum(of) for of in zip(*counted.values(), strict=True))
    work = (TRAIN_IMAGES * both + TEST_IMAGES * forward) / 1e9  # an epoch and its validation
    floor = {dtype: [work / max(of.rates[dtype]) for of in rounds] for dtype in ("float32", "bfloat16")}
    torch = [of.pytorch[-1] for of in rounds if of.pytorch]
    no_torch = "not measured: PyTorch is not installed (pip install -e '.[benchmarks]')"

    epochs = [
        [f"`{name}`, pipeline", seconds(of), ratio(of, theirs[name]) if name in theirs else ""]
        for name, of in ours.items()
    ]
    epochs += [[f"`{name}`, the notebook's loop in Keras", seconds(of), ""] for name, of in every.items()]
    epochs.append([f"`{REFERENCE}` in PyTorch, eager", seconds(torch) if torch else no_torch, ""])
    epochs += [[f"floor, matrix multiplication in {dtype}", seconds(of), ""] for dtype, of in floor.items()]

    steps = math.ceil(TRAIN_IMAGES / NOTEBOOK[REFERENCE].batch_size)
    layers = []
    for name in rounds[0].layers:
        taken = [steps * of.layers[name] for of in rounds]
        least = [TRAIN_IMAGES * counted.get(name, (0, 0))[1] / 1e9 / max(of.rates["float32"]) for of in rounds]
        layers.append([f"`{name}`", seconds(taken), f"{median(least) / median(taken):.0%}" if name in counted else ""])
    in_layers = [steps * sum(of.layers.values()) for of in rounds]

    around, everything = [of.pipeline.around(ROWS) for of in rounds], [of.of_pipeline(ROWS) for of in rounds]
    stages = []
    for stage in rounds[0].pipeline.stages:
        kind, _, name = stage.partition("@")
        epochs_of = [sum(of.pipeline.epochs[name]) if kind == "train" else 0.0 for of in rounds]
        taken = [of.pipeline.stages[stage] - inside for of, inside in zip(rounds, epochs_of, strict=True)]
        stages.append([f"`{stage}`" + ", without its epochs" * (kind == "train"), seconds(taken)])
    importing = sum(stage.partition("@")[0] in IMPORTING for stage in rounds[0].pipeline.stages)

    fast = [full(of.pipeline.epochs[FAST], ROWS[FAST]) for of in rounds]
    reference = [full(of.pipeline.epochs[REFERENCE], ROWS[REFERENCE]) for of in rounds]
    pipeline, notebook = [of.of_pipeline(NOTEBOOK) for of in rounds], [of.of_notebook() for of in rounds]
    smooth = [
        sum(full([of.notebook[name][0], min(every[name])], row) for name, row in NOTEBOOK.items()) for of in rounds
    ]
    goals = [
        ("tracked pipeline / the notebook's three loops", pipeline, notebook, "at most", 0.95),
        ("the same, were all their epochs as fast as the fastest", pipeline, smooth, "at most", 0.95),
        (f"epoch of `{REFERENCE}` / epoch in PyTorch", ours[REFERENCE], torch, "at most", 0.75),
        (f"float32 floor / epoch of `{REFERENCE}`", floor["float32"], ours[REFERENCE], "at least", 0.68),
        ("everything around training / `dvc repro`", around, everything, "at most", 0.05),
        (f"training of `{FAST}` / of `{REFERENCE}`", fast, reference, "at most", 1 / 7),
    ]
    table = []
    for name, of, to, sense, goal in goals:
        row = [name, f"{sense} {goal:.3f}", no_torch, ""]
        if to:
            good = median(of) / median(to) <= goal if sense == "at most" else median(of) / median(to) >= goal
            row[2:] = [ratio(of, to), "yes" if good else "no"]
        table.append(row)
    rate = ", ".join(f"{max(max(of.rates[dtype]) for of in rounds):.0f} GFLOP/s in {dtype}" for dtype in floor)
    return "\n\n".join(
        [
            "## Training and everything around it",
            f"{ROUNDS} rounds, in each of them everything once, in turn. Ratios are of the medians, with the least and "
            "the greatest of a round.",
            tabulate(table, ["ratio", "goal", "measured", "reached"], "github"),
            f"A run of the pipeline has {EPOCHS} epochs here, one of the notebook's loops {LOOP_EPOCHS}, and those "
            f"after the first stand for all that were left out; `{FAST}` has all of its own. An epoch of the loops can "
            "take twice its time: TensorFlow tunes their input while they run, and waits for it. The second ratio "
            "leaves that out. The first is of the pipeline with the notebook's runs alone, and all that it does from "
            f"the data to the record: {seconds(pipeline)}; the notebook's loops, without their start: "
            f"{seconds(notebook)}. With `{FAST}` `dvc repro` takes {seconds(everything)}, of which {seconds(around)} "
            "are around training.",
            "### An epoch with its validation",
            tabulate(epochs, ["", "an epoch after the first", "ratio to the notebook's mean"], "github"),
            f"Floor: {both / 1e6:.1f} MFLOP for each of {TRAIN_IMAGES:,} images forward and backward, "
            f"{forward / 1e6:.1f} for each of {TEST_IMAGES:,} forward, at the best rate of a round; the best of all: "
            f"{rate}.",
            f"### Where an epoch of `{REFERENCE}` goes",
            tabulate(layers, ["layer", "forward and backward", "share of its float32 floor"], "github"),
            f"Each layer by itself, {steps} gradient steps of {NOTEBOOK[REFERENCE].batch_size} images: all layers take "
            f"{seconds(in_layers)} of the epoch's {seconds(ours[REFERENCE])}. The rest is the optimizer, the "
            "validation and the loop.",
            "### Stages of `dvc repro`",
            tabulate(stages, ["stage", "seconds, with DVC's own"], "github"),
            f"A process that imports Keras and does nothing else takes {seconds([of.keras for of in rounds])}; "
            f"{importing} of the stages do.",
        ]
    )


def main() -> None:
    print(report([measure(number) for number in range(1, ROUNDS + 1)]))


if __name__ == "__main__":
    main()
