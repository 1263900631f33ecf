from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mnist_cnn import replicates
from mnist_cnn.errors import InputError


def histories(run: str, accuracies: dict[int, list[float]], recipe: str = "now") -> pd.DataFrame:
    """Make replicates: for each seed its validation accuracies by epoch, losses the remaining share."""
    rows = [
        (run, recipe, seed, epoch, 1 - value, value, 1 - value, value)
        for seed, values in accuracies.items()
        for epoch, value in enumerate(values, 1)
    ]
    return pd.DataFrame(rows, columns=replicates.COLUMNS)


THREE = histories("a", {1: [0.80, 0.90], 2: [0.82, 0.92], 3: [0.84, 0.94]})


def test_the_interval_is_student_s() -> None:
    # The extra hours of sleep with the second drug (Student 1908, table I): mean 2.33, 95 % interval 0.90 to 3.76
    hours = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
    found = replicates.spread(hours, 0.95)
    assert (found.seeds, round(found.mean, 2), round(found.deviation, 3)) == (10, 2.33, 2.002)
    assert [found.low, found.high] == pytest.approx([0.8977, 3.7623], abs=5e-5)


def test_the_last_epoch_of_each_seed_counts() -> None:
    assert replicates.last(THREE).to_dict() == {1: 0.90, 2: 0.92, 3: 0.94}


def test_the_band_is_where_one_more_seed_is_expected() -> None:
    # n = 3, deviation 0.02: 4.3027 * 0.02 * sqrt(4/3)
    band = replicates.band(THREE, "val_accuracy", 0.95)
    assert band.index.tolist() == [1, 2]
    assert band["mean"].tolist() == pytest.approx([0.82, 0.92])
    assert (band["high"] - band["mean"]).tolist() == pytest.approx([0.09936] * 2, abs=5e-5)


def scaled(*factors: float) -> pd.DataFrame:
    """Make a seed for each factor of the losses."""
    losses = np.array([0.4, 0.2, 0.1])
    rows = [
        ("a", "now", seed, epoch, loss, 0.9, loss, 0.9)
        for seed, factor in enumerate(factors)
        for epoch, loss in enumerate(losses * factor, 1)
    ]
    return pd.DataFrame(rows, columns=replicates.COLUMNS)


def test_the_distance_is_the_typical_factor_of_the_losses() -> None:
    first, second = (scaled(factor).set_index("epoch") for factor in (1.0, 1.1))
    assert replicates.distance(first, second) == pytest.approx(np.log(1.1))


def test_the_p_value_of_one_more_seed_is_student_s() -> None:
    # own distances from the mean of the others, of the logarithms 0, 1 and 3: 2, 0.5 and 2.5, each / sqrt(1 + 1/2);
    # the other one's: 9 - 4/3, / sqrt(1 + 1/3)
    own = np.log(np.array([2, 0.5, 2.5]) / 1.5**0.5)
    t = (np.log((9 - 4 / 3) / (4 / 3) ** 0.5) - own.mean()) / (own.std(ddof=1) * (4 / 3) ** 0.5)
    found = replicates.p_value_of_one_more(scaled(1, np.e, np.e**3), scaled(np.e**9).set_index("epoch"))
    assert found == pytest.approx(stats.t.sf(t, 2))


def test_a_curve_that_is_the_mean_is_no_surprise() -> None:
    found = replicates.p_value_of_one_more(scaled(1, np.e, np.e**3), scaled(np.e ** (4 / 3)).set_index("epoch"))
    assert found is not None
    assert found > 0.9


def test_only_common_epochs_are_compared() -> None:
    other = scaled(np.e**2).set_index("epoch")
    other.loc[4] = other.loc[3] * 100
    seeds = scaled(1, np.e, np.e**3)
    assert replicates.p_value_of_one_more(seeds, other) == replicates.p_value_of_one_more(seeds, other.loc[:3])


def test_two_seeds_do_not_say_whether_a_run_is_one_more() -> None:
    assert replicates.p_value_of_one_more(scaled(1, 1.1), scaled(2).set_index("epoch")) is None


def test_more_seeds_and_other_runs_are_added() -> None:
    more = pd.concat([histories("a", {4: [0.8, 0.9]}), histories("b", {1: [0.5, 0.6]})])
    merged = replicates.merge([THREE, more])
    assert merged.groupby("run")["seed"].unique().map(list).to_dict() == {"a": [1, 2, 3, 4], "b": [1]}


def test_the_same_seed_again_replaces_the_old_one() -> None:
    merged = replicates.merge([THREE, histories("a", {2: [0.5, 0.6]})])
    assert replicates.last(merged).to_dict() == {1: 0.90, 2: 0.6, 3: 0.94}


def test_replicates_of_what_a_run_was_before_are_dropped() -> None:
    changed = histories("a", {1: [0.5, 0.6]}, recipe="later")
    assert replicates.merge([THREE, changed])["recipe"].unique().tolist() == ["later"]


def test_a_run_counts_only_with_two_seeds_of_what_it_is_now() -> None:
    known = pd.concat(
        [THREE, histories("b", {1: [0.5]}, recipe="of b"), histories("c", {1: [0.5], 2: [0.6]}, recipe="of c before")]
    )
    assert list(replicates.of_runs(known, {"a": "now", "b": "of b", "c": "of c", "d": "of d"})) == ["a"]


def test_a_seed_that_lacks_epochs_does_not_count() -> None:
    known = pd.concat([THREE, histories("a", {4: [0.8]})])
    assert replicates.last(replicates.of_runs(known, {"a": "now"})["a"]).index.tolist() == [1, 2, 3]


def test_a_seed_that_two_rows_of_the_same_recipe_have_counts_once() -> None:
    known = pd.concat([THREE, THREE[THREE["seed"] < 3].assign(run="twin")])
    found = replicates.of_runs(known, {"a": "now", "twin": "now"})
    assert [replicates.last(of_run).index.tolist() for of_run in found.values()] == [[1, 2, 3], [1, 2, 3]]
    assert not found["a"].duplicated(["seed", "epoch"]).any()


def test_the_first_replicates_are_added_to_an_empty_file(tmp_path: Path) -> None:
    file = tmp_path / "replicates.csv"
    file.write_text(",".join(replicates.COLUMNS) + "\n")
    replicates.merge([replicates.read(file), THREE]).to_csv(file, index=False)
    pd.testing.assert_frame_equal(replicates.read(file), THREE)


def test_another_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "replicates.csv").write_text("run,seed\n")
    with pytest.raises(InputError, match=r"replicates\.csv: should have the columns run, recipe, seed, "):
        replicates.read(tmp_path / "replicates.csv")


@pytest.mark.parametrize("text", [None, "", "run,recipe\n<<<<<<< HEAD\na,b,c\n"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "replicates.csv").write_text(text)
    with pytest.raises(InputError, match=r"replicates\.csv.* Restore it: git checkout reports/replicates\.csv"):
        replicates.read(tmp_path / "replicates.csv")


def test_the_summary_has_a_row_for_each_run() -> None:
    page = replicates.summary({"a": replicates.last(THREE)}, 0.9)
    assert "| `a`   | 3       | 92.00% | 2.00%" in page
    assert "90% interval of the mean" in page
