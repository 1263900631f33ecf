from pathlib import Path

import pandas as pd
import pytest

from image_classifier import paths
from image_classifier.compare import seeds
from image_classifier.errors import InputError


def histories(
    run: str, accuracies: dict[int, list[float]], recipe: str = "now", environment: str = "here"
) -> pd.DataFrame:
    """Return replicates with the given accuracies of each seed by epoch, and 1 - accuracy as losses."""
    rows = [
        (run, recipe, environment, seed, epoch, 1 - value, value, 1 - value, value)
        for seed, values in accuracies.items()
        for epoch, value in enumerate(values, 1)
    ]
    return pd.DataFrame(rows, columns=seeds.COLUMNS)


THREE = histories("a", {1: [0.80, 0.90], 2: [0.82, 0.92], 3: [0.84, 0.94]})


def test_the_summary_has_the_mean_and_student_s_interval() -> None:
    # The extra hours of sleep with the second drug (Student 1908, table I): mean 2.33, 95% interval 0.8977 to 3.7623
    hours = pd.Series([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
    summary = seeds.format_summary({"a": hours}, 0.95, {"a": {"environment": "here", "left_out": {}}}, "")
    titles, _, row = summary.splitlines()
    assert "95% interval of the mean" in titles
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["`a`", "10", "233.00%", "200.22%", "89.77% to 376.23%", "-10.00%", "550.00%", "`here`", "0"]


def test_the_final_accuracies_are_those_of_the_last_epoch() -> None:
    assert seeds.final_accuracies(THREE).to_dict() == {1: 0.90, 2: 0.92, 3: 0.94}


def test_the_prediction_interval_is_student_s() -> None:
    # n = 3, standard deviation 0.02: 4.3027 * 0.02 * sqrt(4/3)
    interval = seeds.prediction_intervals({"a": THREE}, 0.95)["a"]
    assert interval.index.tolist() == [1, 2]
    assert interval["mean"]["val_accuracy"].tolist() == pytest.approx([0.82, 0.92])
    for half_width in (interval["high"] - interval["mean"], interval["mean"] - interval["low"]):
        assert half_width["val_accuracy"].tolist() == pytest.approx([0.09936] * 2, abs=5e-5)


def test_more_seeds_and_other_runs_are_added() -> None:
    more = pd.concat([histories("a", {4: [0.8, 0.9]}), histories("b", {1: [0.5, 0.6]})])
    merged = seeds.merge_replicates([THREE, more])
    assert merged.groupby("run")["seed"].unique().map(list).to_dict() == {"a": [1, 2, 3, 4], "b": [1]}


def test_a_repeated_seed_replaces_the_earlier_one() -> None:
    merged = seeds.merge_replicates([THREE, histories("a", {2: [0.5, 0.6]})])
    assert seeds.final_accuracies(merged).to_dict() == {1: 0.90, 2: 0.6, 3: 0.94}


def test_replicates_of_an_earlier_recipe_are_dropped() -> None:
    changed = histories("a", {1: [0.5, 0.6]}, recipe="later")
    assert seeds.merge_replicates([THREE, changed])["recipe"].unique().tolist() == ["later"]


def test_a_run_needs_two_seeds_of_its_current_recipe() -> None:
    known = pd.concat(
        [THREE, histories("b", {1: [0.5]}, recipe="of b"), histories("c", {1: [0.5], 2: [0.6]}, recipe="of c before")]
    )
    assert list(seeds.select_replicates(known, {"a": "now", "b": "of b", "c": "of c", "d": "of d"})) == ["a"]


def test_a_seed_with_missing_epochs_is_left_out() -> None:
    known = pd.concat([THREE, histories("a", {4: [0.8]})])
    assert seeds.final_accuracies(seeds.select_replicates(known, {"a": "now"})["a"]).index.tolist() == [1, 2, 3]


def test_rows_with_the_same_recipe_share_replicates_without_duplicates() -> None:
    known = pd.concat([THREE, THREE[THREE["seed"] < 3].assign(run="twin")])
    found = seeds.select_replicates(known, {"a": "now", "twin": "now"})
    assert [seeds.final_accuracies(of_run).index.tolist() for of_run in found.values()] == [[1, 2, 3], [1, 2, 3]]
    assert not found["a"].duplicated(["seed", "epoch"]).any()


ELSEWHERE = histories("a", {1: [0.81, 0.91], 2: [0.83, 0.93]}, environment="elsewhere")


def environments_of(selected: dict[str, pd.DataFrame]) -> dict[str, str]:
    """Return the environment of each run, which is the same for all of its seeds."""
    return {run: of_run["environment"].unique().item() for run, of_run in selected.items()}


def test_a_seed_that_is_repeated_in_another_environment_is_kept_beside_the_first() -> None:
    merged = seeds.merge_replicates([THREE, ELSEWHERE])
    assert merged.groupby("environment")["seed"].nunique().to_dict() == {"elsewhere": 2, "here": 3}


@pytest.mark.parametrize(("last", "kept"), [(0.90, ["here"]), (0.91, ["here", "unknown"])])
def test_a_seed_of_an_unknown_environment_is_dropped_when_a_known_one_gives_the_same_values(
    last: float, kept: list[str]
) -> None:
    before = histories("a", {1: [0.80, last]}, environment="unknown")
    merged = seeds.merge_replicates([before, histories("a", {1: [0.80, 0.90]})])
    assert merged["environment"].unique().tolist() == kept
    assert (merged.groupby("environment")["epoch"].count() == 2).all()


def test_seeds_of_different_environments_are_not_pooled() -> None:
    known = pd.concat([THREE, ELSEWHERE])
    selected = seeds.select_replicates(known, {"a": "now"})
    assert seeds.final_accuracies(selected["a"]).to_dict() == {1: 0.90, 2: 0.92, 3: 0.94}
    assert seeds.describe_selection(known, {"a": "now"}, selected) == {
        "a": {"environment": "here", "left_out": {"elsewhere": 2}}
    }


def test_the_environment_of_the_most_runs_is_used_before_the_one_of_the_most_seeds() -> None:
    known = pd.concat([THREE, ELSEWHERE, histories("b", {1: [0.5], 2: [0.6]}, "of b", "elsewhere")])
    selected = seeds.select_replicates(known, {"a": "now", "b": "of b"})
    assert environments_of(selected) == {"a": "elsewhere", "b": "elsewhere"}


def test_runs_without_a_common_environment_use_their_own() -> None:
    known = pd.concat([THREE, histories("b", {1: [0.5], 2: [0.6]}, "of b", "elsewhere")])
    selected = seeds.select_replicates(known, {"a": "now", "b": "of b"})
    assert environments_of(selected) == {"a": "here", "b": "elsewhere"}


def test_a_known_environment_is_used_before_an_unknown_one_with_as_many_seeds() -> None:
    known = pd.concat([ELSEWHERE.assign(environment=name) for name in ("unknown", "zzz")])
    assert environments_of(seeds.select_replicates(known, {"a": "now"})) == {"a": "zzz"}


def test_a_run_with_one_seed_in_each_environment_has_no_replicates() -> None:
    known = pd.concat([THREE[THREE["seed"] == 1], ELSEWHERE[ELSEWHERE["seed"] == 2]])
    selected = seeds.select_replicates(known, {"a": "now"})
    assert selected == {}
    assert seeds.describe_selection(known, {"a": "now"}, selected) == {
        "a": {"environment": None, "left_out": {"elsewhere": 1, "here": 1}}
    }


def test_the_summary_names_the_seeds_of_other_environments() -> None:
    selection = {"a": {"environment": "here", "left_out": {"elsewhere": 2}}}
    summary = seeds.format_summary({"a": pd.Series([0.5, 0.6])}, 0.95, selection, "- `here`: a processor")
    assert "| `here`        | 2          |" in summary
    assert summary.endswith(
        "Environments of these seeds:\n\n- `here`: a processor\n\n"
        "Seeds of different environments are not pooled. Left out: 2 of `a` in `elsewhere`."
    )


def test_the_first_replicates_are_added_to_an_empty_file(tmp_path: Path) -> None:
    file = tmp_path / "replicates.csv"
    file.write_text(",".join(seeds.COLUMNS) + "\n")
    seeds.merge_replicates([seeds.read_replicates(file), THREE]).to_csv(file, index=False)
    pd.testing.assert_frame_equal(seeds.read_replicates(file), THREE)


def test_a_file_that_lacks_columns_is_named_with_them(tmp_path: Path) -> None:
    (tmp_path / "replicates.csv").write_text("run,seed\n")
    with pytest.raises(InputError, match=r"replicates\.csv is damaged \(.* not found: .*'recipe'.*\)\. Check"):
        seeds.read_replicates(tmp_path / "replicates.csv")


@pytest.mark.parametrize("text", ["", "run,recipe\n<<<<<<< HEAD\na,b,c\n"])
def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "REPLICATES", file := tmp_path / "reports/replicates.csv")
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(InputError, match=r"replicates\.csv is .* Restore it: git checkout reports/replicates\.csv"):
        seeds.read_replicates(file)


def test_names_and_recipes_of_digits_are_texts(tmp_path: Path) -> None:
    digits = THREE.assign(run="123", recipe="12e4")
    digits.to_csv(tmp_path / "replicates.csv", index=False)
    pd.testing.assert_frame_equal(seeds.read_replicates(tmp_path / "replicates.csv"), digits)
