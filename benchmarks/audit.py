"""Measure how well an audit finds flipped labels and known duplicates, and write benchmarks/audit.json.

python -m benchmarks.audit

One in a hundred labels of a slice of MNIST is flipped at random. Duplicates are counted in MNIST and in the package
`animal-mnist` (see benchmarks/data_sets.py). Needs data/prepared/mnist/. Takes a few minutes on two cores.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.data_sets import ANIMALS, read_animals
from benchmarks.measure import machine_facts, say
from image_classifier import environment, paths
from image_classifier.config.compose import compose, resolve
from image_classifier.config.schema import Audit, Train
from image_classifier.dataset import Examples, load_examples

IMAGES, FLIPPED = 10_000, 100
TRAINING = ["optimizer=adam", "batch_size=128", "epochs=6", "validation=final_test"]
SIMILARITIES = (0.97, 0.98, 0.99)
RESULTS = Path(__file__).with_name("audit.json")


def main() -> None:
    labels = measure_labels()
    say(str(labels))
    duplicates = {
        "mnist": count_duplicates(*(load_examples(paths.prepared_data("mnist"), p) for p in ("train", "test")))
    }
    with TemporaryDirectory() as folder:
        names, images = zip(*read_animals(Path(folder)), strict=True)
    animals = Examples(np.stack(images)[..., np.newaxis], np.array([ANIMALS.index(name) for name in names]), ANIMALS)
    duplicates["animals"] = count_duplicates(animals[:-1], animals[-1:])
    machine = machine_facts()
    RESULTS.write_text(json.dumps({"labels": labels, "duplicates": duplicates, **machine}, indent=2) + "\n")


def measure_labels() -> dict[str, Any]:
    """Flip labels at random, and return how many of them are found, and how many other labels are suspect."""
    with environment.tensorflow_import():
        from image_classifier.determinism import set_seed_and_threads
        from image_classifier.label_issues import cross_validate, find_suspects
    settings, config = resolve(Audit, compose("audit", [])), resolve(Train, compose("train", TRAINING))
    set_seed_and_threads(config.training.seed, config.training.intra_op_threads)
    examples = load_examples(paths.prepared_data("mnist"), "train")[:IMAGES]
    random = np.random.default_rng(0)
    flipped = random.choice(IMAGES, FLIPPED, replace=False)
    labels = np.array(examples.labels)
    labels[flipped] = (labels[flipped] + random.integers(1, 10, FLIPPED)) % 10
    noisy = Examples(examples.images, labels, examples.classes)
    probabilities = cross_validate(noisy, config, settings.folds, settings.seed, lambda *progress: say(str(progress)))
    suspects = find_suspects(labels, probabilities)
    found = len(set(flipped.tolist()) & set(suspects.tolist()))
    return {
        "images": IMAGES,
        "flipped": FLIPPED,
        "suspects": len(suspects),
        "found": found,
        "folds": settings.folds,
        "training": " ".join(TRAINING[:-1]),
        "out_of_fold_accuracy": float((probabilities.argmax(axis=1) == examples.labels).mean()),
    }


def count_duplicates(training: Examples, test: Examples) -> dict[str, Any]:
    """Return the number of pairs of exact duplicates, and of near duplicates at several limits of the correlation."""
    from image_classifier.audit.findings import audit_dataset
    from image_classifier.audit.pictures import Pictures

    settings = resolve(Audit, compose("audit", [f"similarity={min(SIMILARITIES)}"]))
    findings = audit_dataset(Pictures(training, test), settings)
    if not findings.complete:
        raise RuntimeError("the search for near duplicates was not complete")
    near = findings.pairs[~findings.pairs["exact"]]
    exact = int((findings.group_sizes * (findings.group_sizes - 1) // 2).sum())
    return {"exact": exact, "near": {str(limit): int((near["similarity"] >= limit).sum()) for limit in SIMILARITIES}}


if __name__ == "__main__":
    main()
