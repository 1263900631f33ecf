"""Flipped labels are found, and a test label is disputed if all runs contradict it alike."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from audit_helpers import make_pictures, noise

from image_classifier import label_issues, paths
from image_classifier.audit.disputed_labels import find_disputed
from image_classifier.config.compose import compose, resolve
from image_classifier.config.schema import Data, Train
from image_classifier.dataset import Arrays, Examples
from image_classifier.errors import InputError
from image_classifier.files import write_figure
from image_classifier.label_issues import cross_validate, find_suspects, plot_labels


@pytest.fixture(scope="module")
def config() -> Train:
    return resolve(Train, compose("train", ["optimizer=adam", "epochs=3", "validation=final_test"]))


@pytest.mark.slow
def test_flipped_labels_are_suspect(raw: Arrays, data_config: Data, config: Train) -> None:
    labels = raw["train_labels"][:1000].copy()
    flipped = np.random.default_rng(0).choice(1000, 10, replace=False)
    labels[flipped] = (labels[flipped] + 3) % 10
    examples = Examples(raw["train_images"][:1000, ..., np.newaxis], labels, tuple(data_config.classes))
    epochs = []
    probabilities = cross_validate(examples, config, 3, lambda *progress: epochs.append(progress))
    assert epochs == [(fold, 3, epoch, 3) for fold in (1, 2, 3) for epoch in (1, 2, 3)]
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(1000), abs=1e-5)
    found = set(flipped) & set(find_suspects(labels, probabilities)[:20])
    assert len(found) >= 7


def test_a_class_with_fewer_images_than_folds_is_refused(examples: Examples, config: Train) -> None:
    with pytest.raises(InputError, match=r"^--folds 100: the class . has only \d+ training images\. Low"):
        cross_validate(examples, config, 100, lambda *_progress: None)


def test_a_test_label_is_disputed_if_all_runs_are_sure_of_the_same_other_class() -> None:
    labels = np.array([0, 0, 0, 0])
    one = np.array([[0.01, 0.98, 0.01], [0.01, 0.98, 0.01], [0.01, 0.98, 0.01], [0.98, 0.01, 0.01]])
    other = np.array([[0.02, 0.97, 0.01], [0.01, 0.01, 0.98], [0.3, 0.6, 0.1], [0.98, 0.01, 0.01]])
    disputed = find_disputed(labels, {"one": one, "other": other})
    assert disputed.reset_index().to_numpy().tolist() == [[0, 1, 0.97]]
    assert len(find_disputed(labels, {})) == 0


def test_the_page_has_the_accuracy_with_and_without_disputed_labels(
    project: Path, monkeypatch: pytest.MonkeyPatch, raw: Arrays
) -> None:
    monkeypatch.setattr(paths, "REPORTS", project / "reports")
    folder, run = project / "data/prepared/mnist", project / "runs/mnist/sgd_32"
    for part in (folder, run):
        part.mkdir(parents=True)
    for name, array in raw.items():
        np.save(folder / f"{name}.npy", array[..., np.newaxis] if name.endswith("images") else array)
    (folder / "dataset.json").write_text(json.dumps({"classes": [str(digit) for digit in range(10)]}))
    right = np.eye(10)[raw["test_labels"]]
    np.savez(run / "predictions.npz", probabilities=np.roll(right, 1, axis=0), labels=raw["test_labels"])
    monkeypatch.setattr(label_issues, "cross_validate", lambda *_arguments: np.eye(10)[raw["train_labels"]])
    wrong = np.count_nonzero(np.roll(raw["test_labels"], 1) != raw["test_labels"])
    assert label_issues.audit_labels("mnist", None, 5, 42) == (
        f"reports/labels_mnist.md: 0 suspect training labels, {wrong:,} disputed test labels"
    )
    page = re.sub(" +", " ", (project / "reports/labels_mnist.md").read_text())
    assert f"| `sgd_32` | {1 - wrong / 10_000:.2%} | 100.00% | {wrong:,} | {wrong:,} |" in page
    assert (project / "reports/labels_mnist.png").exists()


@pytest.mark.parametrize("suspects", [0, 9])
def test_the_figure_shows_suspect_and_disputed_labels(tmp_path: Path, suspects: int) -> None:
    pictures = make_pictures(noise(20, (6, 5, 3)), training=12)
    wrong = np.tile([0.1, 0.9], (12, 1))
    disputed = find_disputed(pictures.test.labels, {"one": wrong[:8]})
    figure = plot_labels("noise", pictures, np.arange(suspects), wrong, disputed)
    titles = [part.get_suptitle() for part in figure.subfigs]
    expected = [f"Suspect training labels ({suspects})", ""] if suspects else []
    assert titles == [*expected, "Disputed test labels (4)"]
    write_figure(tmp_path / "labels.png", figure)
