from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from image_classifier.compare import predictions, seeds
from image_classifier.errors import InputError

LABELS = np.array([0, 1, 2, 200, 1], np.uint8)


def history(*numbers: int, recipe: str = "now", environment: str = "here") -> pd.DataFrame:
    """Return replicates of the run "a" with one epoch."""
    rows = [("a", recipe, environment, seed, 1, 0.1, 0.9, 0.1, 0.9) for seed in numbers]
    return pd.DataFrame(rows, columns=seeds.COLUMNS)


def predicted(mistakes: dict[int, str], recipe: str = "now", environment: str = "here") -> pd.DataFrame:
    """Return predictions of the run "a" with the given mistakes of each seed."""
    rows = [("a", recipe, environment, seed, len(LABELS), text) for seed, text in mistakes.items()]
    return pd.DataFrame(rows, columns=predictions.COLUMNS)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "predictions.csv"
    predicted({1: "0:200 4:2", 2: ""}).to_csv(path, index=False)
    return path


@pytest.mark.parametrize("classes", [[200, 1, 2, 200, 2], LABELS])
def test_the_predicted_classes_are_restored_from_the_mistakes(classes: list[int]) -> None:
    text = predictions.encode_mistakes(np.array(classes), LABELS)
    np.testing.assert_array_equal(predictions.decode_mistakes(text, LABELS), classes)


def test_the_mistakes_are_a_short_text() -> None:
    assert predictions.encode_mistakes(np.array([200, 1, 2, 200, 2]), LABELS) == "0:200 4:2"


def test_a_seed_without_mistakes_is_read_as_such(file: Path) -> None:
    pd.testing.assert_frame_equal(predictions.read_mistakes(file), predicted({1: "0:200 4:2", 2: ""}))


def test_each_seed_has_its_correct_images(file: Path) -> None:
    correct = predictions.correct_images({"a": history(1, 2)}, file, LABELS)["a"]
    assert correct.tolist() == [[False, True, True, True, False], [True] * 5]


@pytest.mark.parametrize(
    "replicates", [history(1, 2, 3), history(1, 2, recipe="later"), history(1, 2, environment="elsewhere")]
)
def test_a_run_is_left_out_if_a_seed_has_no_predictions(file: Path, replicates: pd.DataFrame) -> None:
    assert predictions.correct_images({"a": replicates}, file, LABELS) == {}


def test_rows_with_the_same_recipe_share_their_predictions(file: Path) -> None:
    assert predictions.correct_images({"twin": history(1, 2)}, file, LABELS)["twin"].shape == (2, 5)


@pytest.mark.parametrize(("text", "labels"), [("7:1", LABELS), ("0", LABELS), ("0:x", LABELS), ("0:2", LABELS[:4])])
def test_mistakes_that_do_not_fit_the_images_name_the_file(tmp_path: Path, text: str, labels: np.ndarray) -> None:
    path = tmp_path / "predictions.csv"
    predicted({1: text, 2: ""}).to_csv(path, index=False)
    with pytest.raises(InputError, match=r"predictions\.csv is damaged"):
        predictions.correct_images({"a": history(1, 2)}, path, labels)


def test_the_predictions_of_seeds_that_are_dropped_are_dropped() -> None:
    parts = [predicted({1: "0:1", 2: "0:1"}), predicted({1: "0:1"}, recipe="before"), predicted({2: "0:2", 3: ""})]
    merged = predictions.merge_predictions(parts, history(1, 2))
    pd.testing.assert_frame_equal(merged.reset_index(drop=True), predicted({1: "0:1", 2: "0:2"}))


def test_the_command_that_adds_predictions_has_all_seeds() -> None:
    sentence = predictions.format_missing({"a": history(1, 2, 7), "b": history(1, 2)}, {"b": np.ones((2, 5), bool)})
    assert sentence.endswith("Add them: `image-classifier replicate a --seeds 7`")
    assert predictions.format_missing({}, {}) == ""


def test_seeds_of_an_unknown_environment_are_trained_again_together_with_the_other_runs() -> None:
    replicates = {"a": history(1, 2, environment="unknown"), "a 2": history(1, 2, 3).assign(run="b")}
    sentence = predictions.format_missing(replicates, {"a 2": np.ones((3, 5), bool)})
    assert sentence.endswith("Add them: `image-classifier replicate a b --seeds 3`")
