"""Time the pipeline against loops in Keras and PyTorch, and write benchmarks/training.json.

python -m benchmarks.training      takes about half an hour on two cores; the pipeline runs in clones of the last commit

As the machine may be shared, each round measures everything once, in an order of
its own.
"""

import importlib.util
import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.loop import LOOPS, REFERENCE
from benchmarks.measure import clone, conditions, environment, run, say
from image_classifier.config.compose import compose, load_params, resolve
from image_classifier.config.schema import Train

ROUNDS = 5
EPOCHS = 2  # of each run of the pipeline: the first also builds the graph
RUNS = (REFERENCE, "fast")
RESULTS = Path(__file__).with_name("training.json")


def last_line(module: str, *arguments: str) -> Any:
    """Run a module of the benchmarks in a process of its own, and return the values in its last line."""
    return json.loads(run([sys.executable, "-m", f"benchmarks.{module}", *arguments]).splitlines()[-1])


def repro() -> dict[str, Any]:
    """Run `dvc repro` in a fresh clone that has only `RUNS`.

    Returns:
        stages: Seconds of each stage, including DVC's work after it.
        epochs: Seconds of the epochs of each run, with their validation.
    """
    with clone() as project:
        params = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
        params["runs"] = {name: {**params["runs"][name], "epochs": EPOCHS} for name in RUNS}
        (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
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
        return {"stages": stages, "epochs": {run["input"]["run"]: run["epoch_seconds"] for run in metadata}}


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


def main() -> None:
    if not importlib.util.find_spec("torch"):
        sys.exit("Error: PyTorch is not installed. Install it: pip install -e '.[benchmarks]'")
    run(["dvc", "repro", "prepare"])
    measurements: dict[str, Callable[[], Any]] = {name: partial(last_line, "loop", name) for name in LOOPS}
    measurements["pipeline"] = repro
    measurements["matrix_multiplication"] = partial(last_line, "machine")
    measurements["layers"] = partial(last_line, "layers", REFERENCE)
    rounds = []
    for number in range(1, ROUNDS + 1):
        measured = {}
        for name in np.random.default_rng(number).permutation(list(measurements)):
            say(f"Round {number} of {ROUNDS}: {name}")
            measured[name] = measurements[name]()
        rounds.append(measured)
    config = resolve(Train, compose("train", []))
    results = {
        **conditions("python", "keras"),
        "torch": version("torch"),
        "images": [config.data.train_examples, config.data.test_examples],
        "batch_size": load_params().runs[REFERENCE].batch_size,
        "epochs": EPOCHS,
        "operations_per_image": operations(),
        "rounds": rounds,
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
