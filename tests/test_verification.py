from pathlib import Path

import pandas as pd
import pytest

from mnist_cnn.verification import Difference, Verdict, differences, first_deviation, md5s


def test_differences_name_the_key_and_both_values() -> None:
    recorded = {"epochs": 3, "optimizer": {"config": {"learning_rate": 0.1, "momentum": 0.9}}}
    now = {"epochs": 3, "optimizer": {"config": {"learning_rate": 0.2, "nesterov": False}}}
    assert differences(recorded, now) == [
        Difference("optimizer.config.learning_rate", "0.1", "0.2"),
        Difference("optimizer.config.momentum", "0.9", None),
        Difference("optimizer.config.nesterov", None, "False"),
    ]


def test_equal_histories_have_no_deviation(history: pd.DataFrame) -> None:
    assert first_deviation(history, history.copy()) is None


def test_a_missing_validation_is_equal_to_a_missing_validation(history: pd.DataFrame) -> None:
    history.loc[1, "val_loss"] = float("nan")
    assert first_deviation(history, history.copy()) is None


def test_the_first_epoch_that_differs_is_named_with_its_measures_and_the_largest_difference(
    history: pd.DataFrame,
) -> None:
    now = history.copy()
    now.loc[2, "loss"] += 0.25
    now.loc[2, "val_accuracy"] -= 0.5
    deviation = first_deviation(history, now)
    assert deviation is not None
    assert deviation.epoch == 2
    assert deviation.differences == pytest.approx({"loss": 0.25, "val_accuracy": -0.5})
    assert deviation.largest == pytest.approx(0.5)


def test_the_last_bit_counts(history: pd.DataFrame) -> None:
    now = history.copy()
    now.loc[1, "loss"] += 2**-53
    assert first_deviation(history, now) is not None


def test_a_history_that_ends_before_differs_by_more_than_any_tolerance(history: pd.DataFrame) -> None:
    deviation = first_deviation(history, history.iloc[:1])
    assert deviation is not None
    assert (deviation.epoch, deviation.differences, deviation.largest) == (2, {}, float("inf"))


def verdict(history: pd.DataFrame, change: float, tolerance: float, same_model: bool = False) -> Verdict:
    now = history.copy()
    now.loc[2, "loss"] += change
    return Verdict(first_deviation(history, now), same_model, [Difference("tensorflow", "2.21.0", "2.22.0")], tolerance)


def test_the_same_bits_are_identical(history: pd.DataFrame) -> None:
    same = verdict(history, 0, 0, same_model=True)
    assert same.verified
    assert str(same).startswith("Identical to the bit")


def test_another_model_is_not_identical(history: pd.DataFrame) -> None:
    other = verdict(history, 0, 0)
    assert not other.verified
    assert "model.h5 is not." in str(other)


@pytest.mark.parametrize(("tolerance", "verified"), [(0.0, False), (0.009, False), (0.011, True)])
def test_a_tolerance_bounds_the_largest_difference(history: pd.DataFrame, tolerance: float, verified: bool) -> None:
    assert verdict(history, 0.01, tolerance).verified is verified


def test_a_difference_is_told_with_its_epoch_and_what_else_is_not_as_it_was(history: pd.DataFrame) -> None:
    assert str(verdict(history, 0.25, 0)) == (
        "Differs first in epoch 2: loss by +0.25.\n"
        "Largest difference in any epoch: 0.25, tolerance 0.\n"
        "Not as it was recorded:\n"
        "  tensorflow: 2.21.0 in the record, 2.22.0 now"
    )


def test_a_file_that_does_not_exist_has_no_hash(tmp_path: Path) -> None:
    (tmp_path / "empty.py").touch()
    assert md5s(tmp_path, ["empty.py", "gone.py"]) == {"empty.py": "d41d8cd98f00b204e9800998ecf8427e"}
