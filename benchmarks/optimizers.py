"""Train the first epoch with optimizers that no pipeline run has, and write benchmarks/optimizers.json.

python -m benchmarks.optimizers

The log that is published for SGD at batch size 128 is compared with these trainings as `compare` compares it with the
pipeline runs. Needs data/prepared/mnist/. Takes about fifteen minutes on two idle cores.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
from statsmodels.stats.multitest import multipletests

from benchmarks.measure import machine_facts, say
from image_classifier import environment, paths
from image_classifier.compare.published_logs import first_epoch_test
from image_classifier.config.compose import compose, load_compare_config, resolve
from image_classifier.config.schema import Train
from image_classifier.dataset import load_for_training
from image_classifier.files import read_histories

OPTIMIZERS = {  # with Keras' default learning rates, and momentum 0.9 as usual
    "SGD with momentum": {"_target_": "keras.optimizers.SGD", "learning_rate": 0.01, "momentum": 0.9},
    "RMSprop": {"_target_": "keras.optimizers.RMSprop", "learning_rate": 0.001},
    "Adam": {"_target_": "keras.optimizers.Adam", "learning_rate": 0.001},
    "Nadam": {"_target_": "keras.optimizers.Nadam", "learning_rate": 0.001},
}
LOG, BATCH_SIZE, SEEDS = "sgd_128", 128, (1, 2, 3)
RESULTS = Path(__file__).with_name("optimizers.json")


def main() -> None:
    trainings = [(optimizer, seed) for seed in SEEDS for optimizer in OPTIMIZERS]
    losses: dict[str, dict[int, float]] = defaultdict(dict)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        for (optimizer, seed), loss in zip(trainings, pool.map(first_loss, *zip(*trainings, strict=True)), strict=True):
            say(f"{optimizer}, seed {seed}: {loss:.4f}")
            losses[optimizer][seed] = loss
    machine = machine_facts()
    results = {"log": LOG, "batch_size": BATCH_SIZE, "optimizers": compare_log(losses), **machine}
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def compare_log(losses: Mapping[str, Mapping[int, float]]) -> dict[str, dict[str, Any]]:
    """Return the losses of each optimizer by seed, and the test of the log's first loss, corrected for all of them."""
    log = read_histories(paths.published_history("mnist"), run=str).query("run == @LOG").set_index("epoch")
    confidence = load_compare_config().confidence
    results = {}
    for optimizer, values in losses.items():
        seeds = pd.DataFrame({"epoch": 1, "loss": pd.Series(values)})
        results[optimizer] = {"losses": dict(values), **first_epoch_test(seeds, log, confidence)}
    adjusted = multipletests([result["p_value"] for result in results.values()], method="holm")[1]
    for result, p_value in zip(results.values(), adjusted, strict=True):
        result["adjusted"] = float(p_value)
    return results


def first_loss(optimizer: str, seed: int) -> float:
    """Train one epoch on one thread, and return its mean training loss."""
    overrides = [f"batch_size={BATCH_SIZE}", "epochs=1", f"training.seed={seed}", "training.intra_op_threads=1"]
    config = resolve(Train, compose("train", overrides))
    with environment.tensorflow_import():
        from image_classifier.determinism import set_seed_and_threads
        from image_classifier.train.loop import fit
        from image_classifier.train.model import build_model
        from image_classifier.train.optimizer import build_optimizer

    set_seed_and_threads(seed, config.training.intra_op_threads)
    training, validation = load_for_training(paths.prepared_data(config.data.name), 0)
    shape, classes = training.images.shape[1:], len(training.classes)
    model = build_model(config.model.name, config.model.layers, shape, classes, config.training.precision)
    history = fit(model, build_optimizer(OPTIMIZERS[optimizer]), training, validation[:1], config, verbose=0)
    return float(history["loss"].iloc[-1])


if __name__ == "__main__":
    main()
