import pandas as pd
import pytest

from image_classifier.provenance.verify import Verdict, first_difference, list_differences


def test_differences_name_the_key_and_both_values() -> None:
    recorded = {"epochs": 3, "optimizer": {"learning_rate": 0.1, "momentum": 0.9}}
    now = {"epochs": 3, "optimizer": {"learning_rate": 0.2, "nesterov": False}}
    assert list(list_differences(recorded, now)) == [
        "optimizer.learning_rate: 0.1 in the record, 0.2 now",
        "optimizer.momentum: 0.9 in the record, nothing now",
        "optimizer.nesterov: nothing in the record, False now",
    ]


def test_equal_histories_do_not_differ(history: pd.DataFrame) -> None:
    assert first_difference(history, history.copy()) == (None, {}, 0.0)


def test_two_missing_validations_are_equal(history: pd.DataFrame) -> None:
    history.loc[1, "val_loss"] = float("nan")
    assert first_difference(history, history.copy()) == (None, {}, 0.0)


def test_the_first_different_epoch_is_named_with_its_metrics_and_the_largest_difference(history: pd.DataFrame) -> None:
    now = history.copy()
    now.loc[2, "loss"] += 0.25
    now.loc[2, "val_accuracy"] -= 0.5
    epoch, changes, largest = first_difference(history, now)
    assert epoch == 2
    assert changes == pytest.approx({"loss": 0.25, "val_accuracy": -0.5})
    assert largest == pytest.approx(0.5)


def test_the_last_bit_counts(history: pd.DataFrame) -> None:
    now = history.copy()
    now.loc[1, "loss"] += 2**-53
    assert first_difference(history, now)[0] == 1


def test_a_history_that_ends_earlier_differs_by_more_than_any_tolerance(history: pd.DataFrame) -> None:
    assert first_difference(history, history.iloc[:1]) == (2, {}, float("inf"))


def verdict(history: pd.DataFrame, change: float, tolerance: float, same_model: bool = False) -> Verdict:
    now = history.copy()
    now.loc[2, "loss"] += change
    differences = ["tensorflow: 2.21.0 in the record, 2.22.0 now"]
    return Verdict(*first_difference(history, now), same_model, differences, tolerance)


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


def test_the_text_names_the_epoch_and_the_differences_from_the_record(history: pd.DataFrame) -> None:
    assert str(verdict(history, 0.25, 0)) == (
        "The first difference is in epoch 2: loss by +0.25.\n"
        "Largest difference in any epoch: 0.25, tolerance 0.\n"
        "Differences from the record:\n"
        "  tensorflow: 2.21.0 in the record, 2.22.0 now"
    )
