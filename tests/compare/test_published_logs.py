from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from image_classifier import paths
from image_classifier.compare.published_logs import (
    LOSSES,
    correct_matches,
    first_epoch_test,
    judge_label,
    log_distance,
    match_logs,
    rank_p_value,
)
from image_classifier.compare.seeds import read_replicates


def curve(*losses: float) -> pd.DataFrame:
    return pd.DataFrame({"loss": losses, "val_loss": losses}, index=pd.RangeIndex(1, len(losses) + 1, name="epoch"))


SLOW = curve(0.8, 0.4, 0.2, 0.1)
FAST = curve(0.3, 0.07, 0.05, 0.04)


def seeds_of(history: pd.DataFrame, *factors: float) -> pd.DataFrame:
    """Return a replicate of a run for each factor of its losses."""
    return pd.concat([(history * factor).assign(seed=seed).reset_index() for seed, factor in enumerate(factors)])


NEAR = (0.98, 0.99, 1.0, 1.01, 1.02)
REPLICATES = {"slow": seeds_of(SLOW, *NEAR), "fast": seeds_of(FAST, *NEAR)}


def match(published: pd.DataFrame, label: str = "slow") -> list[dict[str, Any]]:
    return match_logs({label: published}, {"slow": SLOW, "fast": FAST}, REPLICATES, max_epoch_lag=2, confidence=0.95)[
        label
    ]


def test_a_log_equal_to_its_run_is_consistent_with_its_label() -> None:
    found = match(SLOW)
    assert judge_label("slow", found, 0.05) == "not rejected"
    assert (found[0]["run"], found[0]["lag"]) == ("slow", 0)
    assert found[0]["loss_ratio"] == pytest.approx(1)
    assert found[0]["p_value"] == pytest.approx(1, abs=0.01)


def test_a_log_that_starts_an_epoch_late_matches_at_lag_1() -> None:
    found = match(curve(0.4, 0.2, 0.1))
    assert judge_label("slow", found, 0.05) == "rejected"
    assert (found[0]["run"], found[0]["lag"]) == ("slow", 1)
    (labelled,) = [match for match in found if (match["run"], match["lag"]) == ("slow", 0)]
    assert labelled["loss_ratio"] == pytest.approx(2)


def test_the_label_of_a_log_of_another_run_is_rejected() -> None:
    found = match(FAST)
    assert judge_label("slow", found, 0.05) == "rejected"
    assert [(match["run"], match["lag"]) for match in found if match["adjusted"] >= 0.05] == [("fast", 0)]


def test_a_label_without_a_run_is_untested() -> None:
    assert judge_label("other", match(FAST, "other"), 0.05) == "untested"


def test_a_label_without_replicates_is_untested_and_has_a_loss_ratio() -> None:
    found = match_logs({"slow": SLOW}, {"slow": SLOW}, {}, max_epoch_lag=0, confidence=0.95)["slow"]
    assert found == [{"run": "slow", "lag": 0, "loss_ratio": pytest.approx(1)}]
    assert judge_label("slow", found, 0.05) == "untested"


def test_a_run_with_fewer_epochs_than_the_log_has_no_match() -> None:
    assert match_logs({"slow": SLOW}, {"slow": SLOW.head(3)}, {}, 2, 0.95) == {"slow": []}


def test_the_distance_is_the_logarithm_of_the_typical_factor_between_the_losses() -> None:
    assert log_distance(SLOW, SLOW * 1.1) == pytest.approx(np.log(1.1))


def test_the_first_loss_has_student_s_prediction_interval_and_p_value() -> None:
    # The logarithms of the seeds' factors are 0, 1 and 2: mean 1, standard deviation 1
    found = first_epoch_test(seeds_of(curve(1, 9), 1, np.e, np.e**2), curve(np.e**4), 0.95)
    half_width = stats.t.ppf(0.975, 2) * (4 / 3) ** 0.5
    assert found["seeds"] == 3
    assert np.log([found["low"], found["high"]]) == pytest.approx([1 - half_width, 1 + half_width])
    assert found["p_value"] == pytest.approx(2 * stats.t.sf(3 / (4 / 3) ** 0.5, 2))


def test_the_first_loss_belongs_to_the_epoch_of_the_lag() -> None:
    lagging = curve(0.4).set_index(pd.Index([2], name="epoch"))
    assert first_epoch_test(REPLICATES["slow"], lagging, 0.95)["p_value"] == pytest.approx(1, abs=0.01)


def test_the_rank_p_value_of_the_farthest_curve_is_one_of_all_curves() -> None:
    assert rank_p_value(REPLICATES["slow"], FAST) == pytest.approx(1 / 6)


def test_the_rank_p_value_counts_the_curves_that_are_farther_away() -> None:
    # Logarithms of the factors 0, 1, 5 and of the log 2: the distances from the mean of the others are 2.67, 1.33, 4, 0
    assert rank_p_value(seeds_of(SLOW, 1, np.e, np.e**5), SLOW * np.e**2) == 1
    # 3 in place of 2: distances 3, 1.67, 3.67, 1
    assert rank_p_value(seeds_of(SLOW, 1, np.e, np.e**5), SLOW * np.e**3) == 1
    # 7: distances 4.33, 3, 2.33, 5
    assert rank_p_value(seeds_of(SLOW, 1, np.e, np.e**5), SLOW * np.e**7) == 0.25


def test_the_rank_p_value_compares_common_epochs_only() -> None:
    lagging = SLOW.loc[2:]
    assert rank_p_value(REPLICATES["slow"], lagging) == 1


def test_labels_are_corrected_among_themselves_and_gate_all_other_hypotheses() -> None:
    matches: dict[str, list[dict[str, Any]]] = {
        "a": [{"run": "a", "lag": 0, "p_value": 0.01}, {"run": "b", "lag": 0, "p_value": 0.001}],
        "b": [{"run": "b", "lag": 0, "p_value": 0.02}, {"run": "b", "lag": 1, "p_value": 0.5}, {"run": "c", "lag": 0}],
    }
    correct_matches(matches)
    assert [match["adjusted"] for match in matches["a"]] == pytest.approx([0.02, 0.02])  # 0.002 is behind the gate
    assert [match["adjusted"] for match in matches["b"][:2]] == pytest.approx([0.02, 0.5])
    assert "adjusted" not in matches["b"][2]


def test_the_first_loss_of_a_seed_is_rejected_at_most_at_the_nominal_rate() -> None:
    random = np.random.default_rng(1)
    trials, rejected = 300, 0
    for _ in range(trials):
        first, *others = np.exp(random.normal(0, 0.03, 4))
        rejected += first_epoch_test(seeds_of(curve(1), *others), curve(first), 0.95)["p_value"] < 0.05
    assert rejected <= stats.binom.ppf(0.999, trials, 0.05)


def test_few_recorded_seeds_are_rejected_as_seeds_of_their_own_run() -> None:
    replicates = read_replicates(paths.REPLICATES)
    p_values = []
    for _, of_run in replicates.groupby(["recipe", "environment"]):
        seeds = of_run["seed"].unique()
        for seed in seeds if len(seeds) > 2 else ():  # a prediction needs two others
            others, one = of_run[of_run["seed"] != seed], of_run[of_run["seed"] == seed].set_index("epoch")
            p_values.append((first_epoch_test(others, one, 0.95)["p_value"], rank_p_value(others, one[LOSSES])))
    assert len(p_values) >= 10
    most = stats.binom.ppf(0.999, len(p_values), 0.05)
    assert all((np.array(p_values) < 0.05).sum(axis=0) <= most)
