import numpy as np
import pandas as pd
import pytest

from image_classifier.provenance.verify import compare_histories, compare_with_record


def test_equal_histories_do_not_differ(history: pd.DataFrame) -> None:
    assert compare_histories(history, history.copy()).empty


def test_two_missing_validations_are_equal(history: pd.DataFrame) -> None:
    history.loc[1, "val_loss"] = float("nan")
    assert compare_histories(history, history.copy()).empty


def test_the_first_different_epoch_is_named_with_its_metrics_and_the_largest_difference(history: pd.DataFrame) -> None:
    now = history.copy()
    now.loc[2, "loss"] += 0.25
    now.loc[2, "val_accuracy"] -= 0.5
    changes = compare_histories(history, now)
    assert list(changes.index) == [2]
    assert changes.loc[2].to_dict() == pytest.approx({"loss": 0.25, "accuracy": 0, "val_loss": 0, "val_accuracy": -0.5})
    _, text = compare_with_record(changes, False, [], 0)
    assert text.startswith(
        "The first difference is in epoch 2: loss by +0.25, val_accuracy by -0.5.\n"
        "Largest difference in any epoch: 0.5, tolerance 0.\n"
    )


def test_the_last_bit_counts(history: pd.DataFrame) -> None:
    now = history.copy()
    now.loc[1, "loss"] += 2**-53
    assert list(compare_histories(history, now).index) == [1]


def test_a_history_that_ends_earlier_differs_by_more_than_any_tolerance(history: pd.DataFrame) -> None:
    changes = compare_histories(history, history.iloc[:1])
    assert list(changes.index) == [2]
    assert np.isposinf(changes).all(axis=None)
    verified, text = compare_with_record(changes, False, [], 1e9)
    assert not verified
    assert text.startswith("The first difference is in epoch 2: one of the two histories ends earlier.")


def verdict(history: pd.DataFrame, change: float, tolerance: float, same_model: bool = False) -> tuple[bool, str]:
    now = history.copy()
    now.loc[2, "loss"] += change
    return compare_with_record(
        compare_histories(history, now), same_model, ["tensorflow: 2.21.0 in the record, 2.22.0 now"], tolerance
    )


def test_the_same_bits_are_identical(history: pd.DataFrame) -> None:
    verified, text = verdict(history, 0, 0, same_model=True)
    assert verified
    assert text.startswith("Identical to the bit")


def test_another_model_is_not_identical(history: pd.DataFrame) -> None:
    verified, text = verdict(history, 0, 0)
    assert not verified
    assert "model.h5 is not." in text


@pytest.mark.parametrize(("tolerance", "verified"), [(0.0, False), (0.009, False), (0.011, True)])
def test_a_tolerance_bounds_the_largest_difference(history: pd.DataFrame, tolerance: float, verified: bool) -> None:
    assert verdict(history, 0.01, tolerance)[0] is verified


def test_equal_histories_are_within_a_tolerance_whatever_the_model(history: pd.DataFrame) -> None:
    assert verdict(history, 0, 0.001)[0]


def test_the_text_names_the_epoch_and_the_differences_from_the_record(history: pd.DataFrame) -> None:
    assert verdict(history, 0.25, 0)[1] == (
        "The first difference is in epoch 2: loss by +0.25.\n"
        "Largest difference in any epoch: 0.25, tolerance 0.\n"
        "Differences from the record:\n"
        "  tensorflow: 2.21.0 in the record, 2.22.0 now"
    )


def test_facts_that_an_older_record_lacks_are_named_and_are_no_difference(history: pd.DataFrame) -> None:
    changes = compare_histories(history, history.copy())
    _, text = compare_with_record(changes, False, [], 0, ["variables", "h5py"])
    assert text.endswith("\nNot recorded, so they may differ: variables, h5py.")
    assert "Differences from the record" not in text
    _, text = compare_with_record(changes, True, [], 0, ["variables", "h5py"])
    assert "Not recorded" not in text
