from pathlib import Path

import pandas as pd
import pytest

from image_classifier import environment
from image_classifier.compare.environments import (
    FACTS,
    describe_environment,
    format_selected,
    merge_environments,
    read_environments,
)
from image_classifier.errors import InputError

RECORDED = {
    "processor": "AMD EPYC, x86_64",
    "processor_family": "25.1",
    "instructions": "fma avx2",
    "variables": "none",
    "gpus": "none",
    **dict.fromkeys(("tensorflow", "keras", "numpy", "ml_dtypes"), "2.0"),
}


def name_of(facts: dict[str, str], threads: int = 1) -> str:
    return str(describe_environment(facts, threads).index[0])


def test_every_fact_is_recorded_with_a_training() -> None:
    assert set(FACTS) - {"threads"} <= set(environment.describe())


@pytest.mark.parametrize("fact", [fact for fact in FACTS if fact != "threads"])
def test_each_fact_decides_the_name(fact: str) -> None:
    assert name_of({**RECORDED, fact: "another"}) != name_of(RECORDED)


def test_the_number_of_threads_decides_the_name() -> None:
    assert name_of(RECORDED, threads=2) != name_of(RECORDED)


@pytest.mark.parametrize("fact", ["cores", "system", "python", "h5py"])
def test_facts_that_do_not_change_the_weights_do_not_decide_the_name(fact: str) -> None:
    assert name_of({**RECORDED, fact: "another"}) == name_of(RECORDED)


def test_a_training_without_recorded_facts_has_an_unknown_environment() -> None:
    assert name_of({}) == "unknown"


def test_only_the_environments_of_seeds_are_kept(tmp_path: Path) -> None:
    used, unused, unknown = (
        describe_environment(RECORDED, 1),
        describe_environment(RECORDED, 2),
        describe_environment({}, 1),
    )
    histories = pd.DataFrame({"environment": [*used.index, "unknown"]})
    merged = merge_environments([unused, used, unknown, used], histories)
    merged.reset_index().to_csv(tmp_path / "environments.csv", index=False)
    pd.testing.assert_frame_equal(read_environments(tmp_path / "environments.csv"), used)


def test_an_environment_is_described_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "environments.csv"
    table = describe_environment({**RECORDED, "variables": "TF_ENABLE_ONEDNN_OPTS=0"}, 1)
    table.reset_index().to_csv(file, index=False)
    (name,) = table.index
    selection = {"a": {"environment": name}, "b": {"environment": "unknown"}, "c": {"environment": None}}
    assert format_selected(selection, file).splitlines() == [
        f"- `{name}`: AMD EPYC, x86_64, family 25.1 (fma avx2); 1 thread; tensorflow 2.0, keras 2.0, numpy 2.0, "
        "ml_dtypes 2.0; variables: TF_ENABLE_ONEDNN_OPTS=0.",
        "- `unknown`: the environment was not recorded with these seeds.",
    ]


def test_an_environment_that_the_table_lacks_is_named(tmp_path: Path) -> None:
    file = tmp_path / "environments.csv"
    describe_environment(RECORDED, 1).reset_index().to_csv(file, index=False)
    with pytest.raises(InputError, match=r"environments\.csv is damaged \(KeyError: '0123abcd'\)"):
        format_selected({"a": {"environment": "0123abcd"}}, file)
