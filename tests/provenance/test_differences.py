from typing import Any

import pytest
import yaml

from image_classifier import environment
from image_classifier.provenance.differences import (
    WIDTH,
    Facts,
    find_differences,
    flatten,
    format_differences,
    training_facts,
)
from image_classifier.provenance.fingerprint import TrainingInput

FILES = {"data/prepared/mnist": "01ab.dir", "src/image_classifier/train": "23cd.dir"}
MACHINE = {"processor": "a processor", "instructions": "fma avx2"}
SAME = "The recorded configuration, data, code and machine of the two runs are the same."


@pytest.fixture(autouse=True)
def _two_facts_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "describe", lambda: MACHINE)


def facts(
    run: str = "a",
    configuration: dict[str, object] | None = None,
    files: dict[str, str] = FILES,
    images: int | None = 60,
    commit: str | None = "c0ffee",
    machine: dict[str, str] = MACHINE,
) -> Facts:
    training = TrainingInput(run, "", yaml.safe_dump({"run": run, **(configuration or {})}), files)
    return training_facts(training, images, commit, machine)


def differences(first: Facts, second: Facts) -> str:
    return format_differences("first", "second", {"first": first, "second": second})


def test_layers_are_flattened_by_their_names() -> None:
    layers = [{"name": "hidden", "units": 128}, {"rate": 0.5}]
    assert flatten({"epochs": 2, "model": {"layers": layers, "shape": [3, 3], "none": []}}) == {
        "epochs": 2,
        "model.layers": "hidden 1",
        "model.layers.hidden.name": "hidden",
        "model.layers.hidden.units": 128,
        "model.layers.1.rate": 0.5,
        "model.shape": [3, 3],
        "model.none": [],
    }


def test_differences_are_sorted_by_key_with_a_text_for_a_missing_value() -> None:
    assert find_differences({"b": 1, "same": 2}, {"same": 2, "a": 3, "b": None}, "-") == [("a", "-", 3), ("b", 1, None)]


def test_runs_that_differ_in_their_names_alone_are_the_same() -> None:
    assert differences(facts("a"), facts("b")) == SAME


def test_values_of_the_configuration_are_listed_by_key() -> None:
    first = facts(configuration={"epochs": 10, "optimizer": {"learning_rate": 0.01, "nesterov": True}})
    second = facts(configuration={"epochs": 2, "optimizer": {"learning_rate": 0.05, "weight_decay": None}})
    assert differences(first, second).splitlines() == [
        "Configuration            first    second",
        "-----------------------  -------  --------",
        "epochs                   10       2",
        "optimizer.learning_rate  0.01     0.05",
        "optimizer.nesterov       true     -",
        "optimizer.weight_decay   -        null",
    ]


@pytest.mark.parametrize(
    ("second", "table"),
    [
        (
            {"files": {**FILES, "data/prepared/mnist": "45ef.dir"}, "images": 50},
            "Data images 01ab.dir 45ef.dir training images 60 50",
        ),
        (
            {"files": {**FILES, "src/image_classifier/train": "67.dir"}, "commit": "decade" * 6},
            "Code commit c0ffee decadedeca src/image_classifier/train 23cd.dir 67.dir",
        ),
        ({"machine": {**MACHINE, "processor": "another"}}, "Machine processor a processor another"),
    ],
    ids=["data", "code", "machine"],
)
def test_data_code_and_machine_have_tables_of_their_own(second: dict[str, Any], table: str) -> None:
    header, _, *rows = differences(facts(), facts(**second)).splitlines()
    assert " ".join([header.split()[0], *" ".join(rows).split()]) == table


def test_facts_that_one_record_lacks_are_listed_as_not_recorded() -> None:
    rows = differences(facts(), facts(images=None, commit=None, machine={"processor": "a processor"})).splitlines()
    assert [row.split(maxsplit=1)[-1] for row in rows if "not recorded" in row] == [
        "images  60       not recorded",
        "c0ffee   not recorded",
        "fma avx2  not recorded",
    ]


def test_facts_that_both_records_lack_are_named() -> None:
    lacking = facts(commit=None, machine={"processor": "a processor"})
    expected = f"{SAME}\n\nNot recorded for either run, so they may differ: commit, instructions."
    assert differences(lacking, lacking) == expected


def test_long_names_and_values_are_shortened_from_the_middle() -> None:
    first, second = (facts(configuration={"k" * 99: f"{word}{'v' * 99}{word}"}) for word in ("one", "two"))
    lines = format_differences("r" * 99, "s" * 99, {"r" * 99: first, "s" * 99: second}).splitlines()
    assert max(map(len, lines)) == WIDTH
    assert lines[2].count("…") == 3
    assert lines[2].split()[1].startswith("one")
    assert lines[2].endswith("vtwo")


def test_long_lists_of_words_show_the_words_that_the_other_lacks() -> None:
    common = " ".join(f"avx{number}" for number in range(9))
    first, second = (facts(machine={**MACHINE, "instructions": f"{common} {own}".strip()}) for own in ("", "amx"))
    row = differences(first, second).splitlines()[2].split()
    assert row[0] == "instructions"
    assert row[-2:] == ["…", "amx"]
