from typing import Any

import numpy as np
import pandas as pd
import pytest

from image_classifier.compare.published_logs import judge_label, match_log


def curve(losses: list[float], accuracies: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        {"loss": losses, "val_loss": losses, "val_accuracy": accuracies},
        index=pd.RangeIndex(1, len(losses) + 1, name="epoch"),
    )


SLOW = curve([0.8, 0.4, 0.2, 0.1], [0.80, 0.90, 0.95, 0.97])
FAST = curve([0.3, 0.07, 0.05, 0.04], [0.94, 0.98, 0.985, 0.987])


def match(published: pd.DataFrame, replicates: dict[str, pd.DataFrame] | None = None) -> list[dict[str, Any]]:
    histories = {"slow": SLOW, "fast": FAST}
    return match_log(published, histories, replicates or {}, 10_000, max_epoch_lag=2, significance=0.05)


def test_a_log_equal_to_its_run_is_consistent_with_its_label() -> None:
    found = match(SLOW)
    assert judge_label("slow", found) == "consistent"
    assert (found[0]["run"], found[0]["lag"]) == ("slow", 0)
    assert found[0]["loss_ratio"] == pytest.approx(1)
    assert found[0]["differing_epochs"] == 0


def test_a_log_that_starts_an_epoch_late_matches_at_lag_1() -> None:
    late = curve([0.4, 0.2, 0.1], [0.90, 0.95, 0.97])
    found = match(late)
    assert judge_label("slow", found) == "refuted"
    assert (found[0]["run"], found[0]["lag"]) == ("slow", 1)
    (labelled,) = [match for match in found if (match["run"], match["lag"]) == ("slow", 0)]
    assert labelled["loss_ratio"] == pytest.approx(2)
    assert labelled["differing_epochs"] == 3


def test_the_label_of_a_log_of_another_run_is_refuted() -> None:
    found = match(FAST)
    assert judge_label("slow", found) == "refuted"
    assert (found[0]["run"], found[0]["lag"]) == ("fast", 0)


def test_a_label_without_a_run_stays_open() -> None:
    found = match(FAST)
    assert judge_label("other", found) == "open"


def test_the_label_of_a_log_that_fits_no_run_stays_open() -> None:
    found = match(curve([0.8, 0.7, 0.6, 0.5], [0.2, 0.3, 0.4, 0.5]))
    assert judge_label("slow", found) == "open"


def test_a_match_with_a_lag_compares_the_common_epochs() -> None:
    found = match(SLOW)
    assert {(match["lag"], match["epochs"]) for match in found} == {(0, 4), (1, 3), (2, 2)}


def test_a_run_with_fewer_epochs_than_the_log_has_no_match() -> None:
    found = match_log(SLOW, {"slow": SLOW.head(3)}, {}, 10_000, max_epoch_lag=2, significance=0.05)
    assert found == []
    assert judge_label("slow", found) == "open"


def test_a_log_within_the_spread_of_the_seeds_is_consistent_with_its_label() -> None:
    found = match(SLOW, seeds_of(SLOW))
    assert judge_label("slow", found) == "consistent"
    assert found[0]["p_value"] == pytest.approx(1, abs=0.05)


def test_the_label_of_a_log_outside_the_spread_of_the_seeds_stays_open() -> None:
    near = SLOW.assign(loss=SLOW["loss"] * 1.2)  # closest to this run, but too far for one of its seeds
    found = match(near, seeds_of(SLOW))
    assert found[0]["differing_epochs"] == 0
    assert found[0]["differs"]
    assert judge_label("slow", found) == "open"


def seeds_of(history: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return ten replicates of a run that deviate from it by up to half a percent."""
    factors = np.linspace(0.995, 1.005, 10)
    replicates = [(history * factor).assign(seed=seed).reset_index() for seed, factor in enumerate(factors)]
    return {"slow": pd.concat(replicates)}
