import numpy as np
import pandas as pd
import pytest

from mnist_cnn import comparison


def outcomes(*counts: tuple[int, bool]) -> np.ndarray:
    return np.concatenate([np.full(count, right) for count, right in counts])


def test_the_interval_is_wilson_s() -> None:
    # Newcombe (1998), Statistics in Medicine 17, table I, example 81/263: 0.2553 to 0.3662
    found = comparison.accuracy(outcomes((81, True), (182, False)), confidence=0.95)
    assert found.value == pytest.approx(81 / 263)
    assert [found.low, found.high] == pytest.approx([0.2553, 0.3662], abs=5e-5)


def test_the_p_value_is_the_exact_mcnemar_test_s() -> None:
    # 5 of 7 differing images favour the first: 2 * (C(7,5) + C(7,6) + C(7,7)) / 2**7 = 58/128
    first = outcomes((5, True), (2, False), (10, True))
    second = outcomes((5, False), (2, True), (10, True))
    (found,) = comparison.paired_tests({"a": first, "b": second})
    assert (found.only_first, found.only_second) == (5, 2)
    assert found.difference == pytest.approx(3 / 17)
    assert found.p_value == pytest.approx(58 / 128)


def test_equal_predictions_do_not_differ() -> None:
    right = outcomes((5, True), (2, False))
    (found,) = comparison.paired_tests({"a": right, "b": right})
    assert (found.difference, found.p_value) == (0, 1)


def test_every_two_runs_are_tested_once() -> None:
    right = outcomes((1, True))
    tests = comparison.paired_tests({"a": right, "b": right, "c": right})
    assert [(test.first, test.second) for test in tests] == [("a", "b"), ("a", "c"), ("b", "c")]


def curve(losses: list[float], accuracies: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        {"loss": losses, "val_loss": losses, "val_accuracy": accuracies},
        index=pd.RangeIndex(1, len(losses) + 1, name="epoch"),
    )


SLOW = curve([0.8, 0.4, 0.2, 0.1], [0.80, 0.90, 0.95, 0.97])
FAST = curve([0.3, 0.07, 0.05, 0.04], [0.94, 0.98, 0.985, 0.987])


def explain(published: pd.DataFrame, log: str) -> comparison.Finding:
    runs = {"slow": SLOW, "fast": FAST}
    return comparison.explain_log(log, published, runs, examples=10_000, largest_shift=2, significance=0.05)


def test_a_log_that_is_a_run_fits_its_label() -> None:
    finding = explain(SLOW, "slow")
    assert finding.verdict == "consistent"
    assert (finding.matches[0].run, finding.matches[0].shift) == ("slow", 0)
    assert finding.matches[0].loss_ratio == pytest.approx(1)
    assert finding.matches[0].differing_epochs == 0


def test_a_log_that_starts_an_epoch_late_is_found_shifted() -> None:
    late = curve([0.4, 0.2, 0.1], [0.90, 0.95, 0.97])
    finding = explain(late, "slow")
    assert finding.verdict == "refuted"
    assert (finding.matches[0].run, finding.matches[0].shift) == ("slow", 1)
    assert finding.labelled is not None
    assert finding.labelled.loss_ratio == pytest.approx(2)
    assert finding.labelled.differing_epochs == 3


def test_a_log_of_another_run_is_found_out() -> None:
    finding = explain(FAST, "slow")
    assert finding.verdict == "refuted"
    assert (finding.matches[0].run, finding.matches[0].shift) == ("fast", 0)


def test_a_label_without_a_run_is_not_judged() -> None:
    finding = explain(FAST, "other")
    assert finding.labelled is None
    assert finding.verdict == "open"


def test_a_log_that_no_run_explains_leaves_its_label_open() -> None:
    finding = explain(curve([0.8, 0.7, 0.6, 0.5], [0.2, 0.3, 0.4, 0.5]), "slow")
    assert finding.verdict == "open"


def test_a_shifted_match_compares_the_epochs_that_both_have() -> None:
    finding = explain(SLOW, "slow")
    assert {(match.shift, match.epochs) for match in finding.matches} == {(0, 4), (1, 3), (2, 2)}


def test_a_run_that_is_shorter_than_the_log_says_nothing_of_it() -> None:
    runs = {"slow": SLOW.head(3)}
    finding = comparison.explain_log("slow", SLOW, runs, examples=10_000, largest_shift=2, significance=0.05)
    assert finding.matches == []
    assert finding.verdict == "open"
