import numpy as np
import pandas as pd
import pytest

from mnist_cnn.published import Finding, explain_log


def curve(losses: list[float], accuracies: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        {"loss": losses, "val_loss": losses, "val_accuracy": accuracies},
        index=pd.RangeIndex(1, len(losses) + 1, name="epoch"),
    )


SLOW = curve([0.8, 0.4, 0.2, 0.1], [0.80, 0.90, 0.95, 0.97])
FAST = curve([0.3, 0.07, 0.05, 0.04], [0.94, 0.98, 0.985, 0.987])


def explain(published: pd.DataFrame, log: str, seeds: dict[str, pd.DataFrame] | None = None) -> Finding:
    runs = {"slow": SLOW, "fast": FAST}
    return explain_log(log, published, runs, 10_000, 2, 0.05, seeds)


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
    finding = explain_log("slow", SLOW, runs, examples=10_000, largest_shift=2, significance=0.05)
    assert finding.matches == []
    assert finding.verdict == "open"


def test_a_log_that_can_be_one_more_seed_of_its_run_fits_its_label() -> None:
    finding = explain(SLOW, "slow", seeds_of(SLOW))
    assert finding.verdict == "consistent"
    assert finding.matches[0].p_value == pytest.approx(1, abs=0.05)


def test_a_log_outside_the_band_of_the_seeds_leaves_its_label_open() -> None:
    near = SLOW.assign(loss=SLOW["loss"] * 1.2)  # closer to this run than to any other, and yet not of it
    finding = explain(near, "slow", seeds_of(SLOW))
    assert finding.matches[0].differing_epochs == 0
    assert finding.matches[0].differs
    assert finding.verdict == "open"


def seeds_of(history: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Make ten replicates of a run, up to half a percent to both sides of it."""
    factors = np.linspace(0.995, 1.005, 10)
    replicates = [(history * factor).assign(seed=seed).reset_index() for seed, factor in enumerate(factors)]
    return {"slow": pd.concat(replicates)}
