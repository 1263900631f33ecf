import json
import re
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from image_classifier import paths
from image_classifier.compare import predictions
from image_classifier.compare.pair import compare_pair, format_pair
from image_classifier.compare.seeds import COLUMNS
from image_classifier.config.schema import Compare

LABELS = np.arange(10)
CORRECT = np.eye(10)
HALF = np.where(LABELS[:, np.newaxis] < 5, CORRECT, np.roll(CORRECT, 1, axis=1))


@pytest.fixture(autouse=True)
def _replicates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three replicates of the recipes "of good" and "of bad"."""
    rows = [
        (run, f"of {run}", "here", seed, 1, 0.1, 0.9, 0.1, accuracy)
        for run, accuracies in {"good": [0.99, 0.98, 0.985], "bad": [0.5, 0.51, 0.49]}.items()
        for seed, accuracy in enumerate(accuracies, 1)
    ]
    monkeypatch.setattr(paths, "REPLICATES", tmp_path / "replicates.csv")
    pd.DataFrame(rows, columns=COLUMNS).to_csv(paths.REPLICATES, index=False)
    monkeypatch.setattr(paths, "REPLICATES_PREDICTIONS", tmp_path / "predictions.csv")
    pd.DataFrame(columns=predictions.COLUMNS).to_csv(paths.REPLICATES_PREDICTIONS, index=False)


def add_predictions() -> None:
    """Give each seed of good one mistake, and each seed of bad five, which are the same for all seeds of bad."""
    mistakes = {"good": ["0:1", "1:2", "2:3"], "bad": ["0:1 1:2 2:3 3:4 4:5"] * 3}
    rows = [
        (run, f"of {run}", "here", seed, 10, text)
        for run, texts in mistakes.items()
        for seed, text in enumerate(texts, 1)
    ]
    pd.DataFrame(rows, columns=predictions.COLUMNS).to_csv(paths.REPLICATES_PREDICTIONS, index=False)


def settings(confidence: float) -> Compare:
    return Compare.model_construct(confidence=confidence, margin=0.01)


def compare(recipes: dict[str, str | None], confidence: float = 0.9, rows: Collection[str] = ("good",)) -> str:
    probabilities = {"bad": HALF, "good": CORRECT}
    tests, missing = compare_pair("good", "bad", probabilities, LABELS, recipes, settings(confidence))
    return format_pair(json.loads(json.dumps(tests)), missing, rows)  # MLflow holds the tests as JSON


def test_runs_with_replicates_are_compared_on_the_images_and_over_the_seeds() -> None:
    assert compare({"bad": "of bad", "good": "of good"}).splitlines() == [
        "On 10 test images: good 100.00%, bad 50.00%",
        "  difference +50.00%, 90% interval +20.00% to +80.00%",
        "  5 images correct only in good, 0 only in bad; exact McNemar test: p = 0.062",
        "  good is better than bad on these images.",
        "Over the seeds: good 98.50%, bad 50.00%",
        "  difference +48.50%, 90% interval +46.62% to +50.38%",
        "  3 and 3 seeds; Welch's t test: p = 0.00018",
        "  environment of the seeds: here",
        "  The interval for other test images needs predictions, which the seeds of good, bad lack. "
        "Add them: `image-classifier replicate good bad --seeds 3`",
        "  good is better than bad.",
    ]


def test_seeds_with_predictions_have_an_interval_for_other_images() -> None:
    add_predictions()
    lines = compare({"bad": "of bad", "good": "of good"}).splitlines()
    (line,) = (line for line in lines if "other test images" in line)
    low, high = (float(value) for value in re.findall(r"([+-][\d.]+)% ", line))
    assert line.startswith("  for other seeds and other test images: 90% interval +")
    assert low < 40 < high
    assert "without predictions" not in "".join(lines)


def test_the_seeds_of_another_environment_are_left_out_of_a_comparison() -> None:
    recorded = pd.read_csv(paths.REPLICATES)
    other = recorded[recorded["seed"] < 3].assign(environment="elsewhere", val_accuracy=0.1)
    pd.concat([recorded, other]).to_csv(paths.REPLICATES, index=False)
    text = compare({"bad": "of bad", "good": "of good"})
    assert "Over the seeds: good 98.50%, bad 50.00%\n" in text
    assert "\n  environment of the seeds: here; 4 seeds of other environments are left out\n" in text


@pytest.mark.parametrize("recipe", ["of another run", None])
def test_a_run_without_replicates_is_compared_on_the_images_alone(recipe: str | None) -> None:
    assert "seeds" not in compare({"good": "of good", "bad": recipe})


def test_rows_without_replicates_are_named_with_the_command_that_trains_them() -> None:
    text = compare({"good": "of good", "bad": "of another run"}, rows=("good", "bad"))
    assert text.splitlines()[4:] == ["To compare them over the seeds as well: image-classifier replicate bad"]


def test_runs_with_the_same_recipe_are_compared_on_the_images_alone() -> None:
    assert "Over the seeds" not in compare({"good": "of good", "bad": "of good"})


def test_a_difference_within_noise_is_called_so() -> None:
    most = np.where(LABELS[:, np.newaxis] > 2, CORRECT, np.roll(CORRECT, 1, axis=1))
    probabilities, recipes = {"bad": HALF, "good": most}, {"good": None, "bad": None}
    text = format_pair(*compare_pair("good", "bad", probabilities, LABELS, recipes, settings(0.95)))
    assert text.splitlines()[-1] == "  The difference is within noise."


def test_a_difference_that_does_not_matter_is_called_so() -> None:
    text = compare({"good": None, "bad": None}, confidence=0.95)
    assert text.splitlines()[-1] == "  good is at most 1.00% worse than bad on these images."


@pytest.mark.parametrize("second", ["good", "bad"])
def test_runs_with_equal_probabilities_are_identical(second: str) -> None:
    probabilities, recipes = {"good": HALF, second: HALF}, {"good": None, second: None}
    text = format_pair(*compare_pair("good", second, probabilities, LABELS, recipes, settings(0.95)))
    assert text == f"good and {second} are identical: the same probabilities for all 10 test images."


def test_the_brier_score_of_a_run_is_the_mean_squared_distance_from_the_labels() -> None:
    probabilities = {"first": np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]), "second": np.eye(3)[[0, 0]]}
    labels = np.array([0, 0])
    (test,), _ = compare_pair("first", "second", probabilities, labels, {"first": None, "second": None}, settings(0.9))
    assert test["brier_scores"] == [(0.5 + 2) / 2, 0]
