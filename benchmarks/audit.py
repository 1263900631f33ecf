"""Measure how well an audit finds flipped labels and known duplicates, and write benchmarks/audit.json.

python -m benchmarks.audit

One in a hundred labels of a slice of MNIST is flipped at random. Duplicates are counted in MNIST and in the package
`animal-mnist` (see benchmarks/data_sets.py). The disputed test labels of the pipeline runs are compared with the
judgement of people. Needs the results of `dvc repro`. Takes a few minutes on two cores.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.data_sets import ANIMALS, read_animals
from benchmarks.measure import machine_facts, say
from image_classifier import environment, paths
from image_classifier.config.compose import compose, load_params, resolve
from image_classifier.config.schema import Audit, Train
from image_classifier.dataset import Examples, load_examples

IMAGES, FLIPPED = 10_000, 100
FOLDS = 5  # default of `image-classifier audit`
TRAINING = ["optimizer=adam", "batch_size=128", "epochs=6", "validation=final_test"]
SIMILARITIES = (0.97, 0.98, 0.99)
# Test images of MNIST, with their labels, for which at most two of five people chose the label (Northcutt, Athalye and
# Mueller, 2021, arXiv:2103.14749; mturk/mnist_mturk.json in https://github.com/cleanlab/label-errors)
WITHOUT_MAJORITY = {
    947: 8, 1621: 0, 1901: 9, 2130: 4, 2462: 2, 2597: 5, 2654: 6, 3520: 6, 3558: 5, 5937: 5, 6651: 0, 6783: 1, 8527: 4,
    9679: 6, 9729: 5,
}  # fmt: skip
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
    measured = {"labels": labels, "without_majority": compare_with_people(), "duplicates": duplicates}
    RESULTS.write_text(json.dumps({**measured, **machine_facts()}, indent=2) + "\n")


def measure_labels() -> dict[str, Any]:
    """Flip labels at random, and return how many of them are found, and how many other labels are suspect."""
    with environment.tensorflow_import():
        from image_classifier.determinism import set_seed_and_threads
        from image_classifier.label_issues import cross_validate, find_suspects
    config = resolve(Train, compose("train", TRAINING))
    set_seed_and_threads(config.training.seed, config.training.intra_op_threads)
    examples = load_examples(paths.prepared_data("mnist"), "train")[:IMAGES]
    random = np.random.default_rng(0)
    flipped = random.choice(IMAGES, FLIPPED, replace=False)
    labels = np.array(examples.labels)
    labels[flipped] = (labels[flipped] + random.integers(1, 10, FLIPPED)) % 10
    noisy = Examples(examples.images, labels, examples.classes)
    probabilities = cross_validate(noisy, config, FOLDS, lambda *progress: say(str(progress)))
    suspects = find_suspects(labels, probabilities)
    found = len(set(flipped.tolist()) & set(suspects.tolist()))
    return {
        "images": IMAGES,
        "flipped": FLIPPED,
        "suspects": len(suspects),
        "found": found,
        "folds": FOLDS,
        "training": " ".join(TRAINING[:-1]),
        "out_of_fold_accuracy": float((probabilities.argmax(axis=1) == examples.labels).mean()),
    }


def compare_with_people() -> dict[str, Any]:
    """Return how many of the labels without a majority of people are disputed by the pipeline runs, or wrong for some.

    Raises:
        RuntimeError: A run has no predictions.
    """
    with environment.tensorflow_import():
        from image_classifier.audit.disputed_labels import DISPUTE_PROBABILITY, find_disputed
        from image_classifier.label_issues import read_predictions
    runs, test = list(load_params().runs), load_examples(paths.prepared_data("mnist"), "test")
    predictions = read_predictions("mnist", runs, test)
    if list(predictions) != runs:
        raise RuntimeError(f"these runs have no predictions: {', '.join(set(runs) - set(predictions))}")
    disputed = set(find_disputed(test.labels, predictions).index)
    wrong = np.stack([chosen.argmax(axis=1) for chosen in predictions.values()]) != test.labels
    for_all = set(np.flatnonzero(wrong.all(axis=0)))
    return {
        "images": len(WITHOUT_MAJORITY),
        "runs": runs,
        "probability": DISPUTE_PROBABILITY,
        "disputed": len(disputed),
        "disputed_without_majority": len(disputed & WITHOUT_MAJORITY.keys()),
        "wrong_for_all": len(for_all),
        "wrong_for_all_without_majority": len(for_all & WITHOUT_MAJORITY.keys()),
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
