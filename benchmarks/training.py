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
from image_classifier.config.compose import compose, load_table, resolve
from image_classifier.config.schema import Row, Train

ROUNDS = 3
TRAIN_IMAGES, TEST_IMAGES = 60_000, 10_000
EPOCHS = 2  # of each pipeline run of the notebook: the first, which also builds the graph, and one for all others
LOOP_EPOCHS = 4  # of the notebook's loops, whose epochs vary more: see `report`
ROWS = load_table()
NOTEBOOK = {name: ROWS[name] for name in ("sgd_32", "sgd_128", "adadelta_128")}
REFERENCE, FAST = "adadelta_128", "fast"
IMPORT_KERAS = {"diagram", "train", "evaluate", "track"}
# The stages import Keras in the same way.
KERAS = "from image_classifier.environment import tensorflow_import\nwith tensorflow_import(): import keras"


@dataclass
class Pipeline:
    """Durations of one complete `dvc repro`.

    Attributes:
        stages: Seconds of each stage, including DVC's work after it.
        epochs: Seconds of the epochs of each run.
    """

    stages: dict[str, float]
    epochs: dict[str, list[float]]

    def overhead(self, runs: dict[str, Row]) -> float:
        """Return the seconds outside of epochs, without the stages of other runs."""
        others = self.epochs.keys() - runs.keys()
        stages = [stage for stage in self.stages if stage.partition("@")[2] not in others]
        return sum(self.stages[stage] for stage in stages) - sum(sum(self.epochs[name]) for name in runs)


@dataclass
class Round:
    """Measurements that were made side by side.

    Attributes:
        notebook: Seconds of the epochs of each loop of the notebook.
        pytorch: Seconds of the epochs of the reference run in PyTorch; None if PyTorch is not installed.
        rates: Rates of matrix multiplication in GFLOP/s, for each dtype.
        layers: Seconds of a gradient step of the reference run in each layer.
        keras: Seconds of a process that only imports Keras.
        pipeline: Durations of `dvc repro`.
    """

    notebook: dict[str, list[float]]
    pytorch: list[float] | None
    rates: dict[str, list[float]]
    layers: dict[str, float]
    keras: float
    pipeline: Pipeline

    def notebook_seconds(self) -> float:
        """Return the seconds of the notebook's loops with all of their epochs."""
        return sum(extrapolate(self.notebook[name], row) for name, row in NOTEBOOK.items())

    def pipeline_seconds(self, runs: dict[str, Row]) -> float:
        """Return the seconds of a pipeline with only these runs and all of their epochs."""
        epochs = sum(extrapolate(self.pipeline.epochs[name], row) for name, row in runs.items())
        return self.pipeline.overhead(runs) + epochs


def extrapolate(epochs: Times, row: Row) -> float:
    """Return the seconds of all epochs of a row; an epoch that was left out takes the mean of the later epochs."""
    return sum(epochs) + (row.epochs - len(epochs)) * mean_later(epochs)


def mean_later(epochs: Times) -> float:
    """Return the mean seconds of the epochs after the first."""
    return statistics.mean(epochs[1:])


def loop(library: str, row: Row, epochs: int) -> list[float]:
    """Train without the pipeline, in a separate process, and return the seconds of each epoch."""
    command = [sys.executable, "-m", "benchmarks.loop", library, row.optimizer, str(row.batch_size), str(epochs)]
    return [float(taken) for taken in json.loads(run(command).splitlines()[-1])]


def repro() -> Pipeline:
    """Run `dvc repro` in a fresh clone and time its stages."""
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
        metadata = [json.loads(file.read_text(encoding="utf-8")) for file in (project / "run_metadata").glob("*.json")]
        return Pipeline(stages, {run["input"]["run"]: run["epoch_seconds"] for run in metadata})


def measure(number: int) -> Round:
    """Measure everything once."""
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
    """Count the floating-point operations of the model for one image; a multiplication and an addition count as two.

    Only convolutions and dense layers count. The backward pass of a layer has twice the operations of its forward pass,
    for the gradients of its weights and of its input. The first layer needs no gradient of its input.

    Returns:
        For each of these layers: operations of the forward pass, and of both passes.
    """
    import keras

    from image_classifier.train.model import build_model

    config = resolve(Train, compose("train", []))
    model, data = config.model, config.data
    counted: dict[str, tuple[int, int]] = {}
    for layer in build_model(model.name, model.layers, data.image_shape, len(data.classes)).layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            forward = 2 * math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:-1])
            counted[layer.name] = (forward, 3 * forward if counted else 2 * forward)
    return counted


def report(rounds: list[Round]) -> str:
    """Return the report in Markdown."""
    ours = {name: [round_.pipeline.epochs[name][-1] for round_ in rounds] for name in ROWS}
    theirs = {name: [mean_later(round_.notebook[name]) for round_ in rounds] for name in NOTEBOOK}
    every = {name: [taken for round_ in rounds for taken in round_.notebook[name][1:]] for name in NOTEBOOK}
    counted = operations()
    forward, both = (sum(passes) for passes in zip(*counted.values(), strict=True))
    work = (TRAIN_IMAGES * both + TEST_IMAGES * forward) / 1e9  # an epoch and its validation
    floor = {dtype: [work / max(round_.rates[dtype]) for round_ in rounds] for dtype in ("float32", "bfloat16")}
    torch = [round_.pytorch[-1] for round_ in rounds if round_.pytorch]
    no_torch = "not measured: PyTorch is not installed (pip install -e '.[benchmarks]')"

    epochs = [
        [f"`{name}`, pipeline", seconds(times), ratio(times, theirs[name]) if name in theirs else ""]
        for name, times in ours.items()
    ]
    epochs += [[f"`{name}`, the notebook's loop in Keras", seconds(times), ""] for name, times in every.items()]
    epochs.append([f"`{REFERENCE}` in PyTorch, eager", seconds(torch) if torch else no_torch, ""])
    epochs += [
        [f"at peak matrix multiplication throughput, {dtype}", seconds(times), ""] for dtype, times in floor.items()
    ]

    steps = math.ceil(TRAIN_IMAGES / NOTEBOOK[REFERENCE].batch_size)
    layers = []
    for name in rounds[0].layers:
        taken = [steps * round_.layers[name] for round_ in rounds]
        least = [TRAIN_IMAGES * counted.get(name, (0, 0))[1] / 1e9 / max(round_.rates["float32"]) for round_ in rounds]
        layers.append([f"`{name}`", seconds(taken), f"{median(least) / median(taken):.0%}" if name in counted else ""])
    in_layers = [steps * sum(round_.layers.values()) for round_ in rounds]

    overhead = [round_.pipeline.overhead(ROWS) for round_ in rounds]
    everything = [round_.pipeline_seconds(ROWS) for round_ in rounds]
    stages = []
    for stage in rounds[0].pipeline.stages:
        kind, _, name = stage.partition("@")
        epochs_of = [sum(round_.pipeline.epochs[name]) if kind == "train" else 0.0 for round_ in rounds]
        taken = [round_.pipeline.stages[stage] - inside for round_, inside in zip(rounds, epochs_of, strict=True)]
        stages.append([f"`{stage}`" + ", without its epochs" * (kind == "train"), seconds(taken)])
    importing = sum(stage.partition("@")[0] in IMPORT_KERAS for stage in rounds[0].pipeline.stages)

    fast = [extrapolate(round_.pipeline.epochs[FAST], ROWS[FAST]) for round_ in rounds]
    reference = [extrapolate(round_.pipeline.epochs[REFERENCE], ROWS[REFERENCE]) for round_ in rounds]
    pipeline = [round_.pipeline_seconds(NOTEBOOK) for round_ in rounds]
    notebook = [round_.notebook_seconds() for round_ in rounds]
    smooth = [
        sum(extrapolate([round_.notebook[name][0], min(every[name])], row) for name, row in NOTEBOOK.items())
        for round_ in rounds
    ]
    goals = [
        ("tracked pipeline / the notebook's three loops", pipeline, notebook, "at most", 0.95),
        ("the same, if every epoch of the loops takes its fastest time", pipeline, smooth, "at most", 0.95),
        (f"epoch of `{REFERENCE}` / epoch in PyTorch", ours[REFERENCE], torch, "at most", 0.75),
        (f"share of peak throughput, epoch of `{REFERENCE}`", floor["float32"], ours[REFERENCE], "at least", 0.68),
        ("everything except training / `dvc repro`", overhead, everything, "at most", 0.05),
        (f"training of `{FAST}` / training of `{REFERENCE}`", fast, reference, "at most", 1 / 7),
    ]
    table = []
    for name, times, reference_times, sense, goal in goals:
        row = [name, f"{sense} {goal:.3f}", no_torch, ""]
        if reference_times:
            value = median(times) / median(reference_times)
            reached = value <= goal if sense == "at most" else value >= goal
            row[2:] = [ratio(times, reference_times), "yes" if reached else "no"]
        table.append(row)
    rate = ", ".join(f"{max(max(round_.rates[dtype]) for round_ in rounds):.0f} GFLOP/s in {dtype}" for dtype in floor)
    return "\n\n".join(
        [
            "## Training and the other stages",
            f"Each of {ROUNDS} rounds measures everything once, one after the other. A ratio is that of the medians, "
            "followed by the minimum and the maximum over the rounds.",
            tabulate(table, ["ratio", "goal", "measured", "reached"], "github"),
            f"In these rounds a run of the pipeline has {EPOCHS} epochs, and a loop of the notebook {LOOP_EPOCHS}. The "
            f"times of ten epochs are extrapolated from the epochs after the first; `{FAST}` is trained completely. "
            "An epoch of the loops can take twice its time, because TensorFlow tunes their input while they run and "
            "waits for the tuner. The second ratio excludes this effect.",
            f"The pipeline with the notebook's three runs, from fetching the data to recording the results, takes "
            f"{seconds(pipeline)}. The notebook's loops, without the start of their processes, take "
            f"{seconds(notebook)}. `dvc repro` with all runs takes {seconds(everything)}, of which {seconds(overhead)} "
            "are not training.",
            "### An epoch with its validation",
            tabulate(epochs, ["", "an epoch after the first", "ratio to the loop's mean epoch"], "github"),
            "The ratio divides the median epoch of the pipeline by the median over the rounds of the mean epoch of a "
            "loop. This mean differs from the median in the table, because only some epochs of a loop wait for the "
            "tuner.",
            f"An epoch needs {both / 1e6:.1f} MFLOP for each of {TRAIN_IMAGES:,} images (forward and backward) and "
            f"{forward / 1e6:.1f} MFLOP for each of {TEST_IMAGES:,} images (forward). The peak throughput is the best "
            f"rate of large matrix multiplications in a round; the highest of all rounds: {rate}.",
            f"### Time of each layer of `{REFERENCE}`",
            tabulate(layers, ["layer", "forward and backward", "share of peak float32 throughput"], "github"),
            f"Each layer is timed alone, with {steps} gradient steps of {NOTEBOOK[REFERENCE].batch_size} images. All "
            f"layers together take {seconds(in_layers)}, and an epoch {seconds(ours[REFERENCE])}. The difference "
            "consists of the optimizer, the validation and the loop.",
            "### Stages of `dvc repro`",
            tabulate(stages, ["stage", "time, including DVC's own work"], "github"),
            f"A process that imports Keras and then ends takes {seconds([round_.keras for round_ in rounds])}; "
            f"{importing} of the stages import it.",
        ]
    )


def main() -> None:
    print(report([measure(number) for number in range(1, ROUNDS + 1)]))


if __name__ == "__main__":
    main()
