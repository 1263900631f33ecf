"""Promotion: its rules, its record, its way back, and its behaviour when it is killed or runs several times at once."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from threading import Barrier
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tracking_helpers import COMPARE, model_folder, promote

from image_classifier.compare.pair import compare_pair
from image_classifier.compare.significance import RunTest, seeds_tests
from image_classifier.errors import InputError
from image_classifier.provenance.result import Result
from image_classifier.track import promotion
from image_classifier.track.promotion import Move, describe_history, find_objection, read_moves, undo
from image_classifier.track.registry import CHAMPION, find_champion
from image_classifier.track.store import Store
from image_classifier.track.writer import record_result

LABELS = np.zeros(200, np.uint8)


def predictions(accuracy: float, certainty: float = 0.9) -> np.ndarray:
    """Return probabilities of two classes whose most probable class is correct for the first images."""
    wrong = np.arange(len(LABELS)) >= accuracy * len(LABELS)
    return np.where(wrong[:, np.newaxis], [1 - certainty, certainty], [certainty, 1 - certainty])


def compare(new: np.ndarray, old: np.ndarray) -> list[RunTest]:
    probabilities, recipes = {"new": new, "old": old}, {"new": None, "old": None}
    return compare_pair("new", "old", probabilities, LABELS, recipes, COMPARE)[0]


BETTER = compare(predictions(0.95), predictions(0.8))
WORSE = compare(predictions(0.8), predictions(0.95))
NOISE = compare(predictions(0.95), predictions(0.945))
UNSURE = compare(predictions(0.95, 0.55), predictions(0.8, 0.99))
Compared = Callable[[list[RunTest]], None]


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> Compared:
    """Set the comparison of every run with the champion."""

    def use(tests: list[RunTest]) -> None:
        monkeypatch.setattr(promotion, "compare_two_runs", lambda *_, **__: (tests, []))

    use(BETTER)
    return use


@pytest.fixture
def runs(store: Store, result: Result, small_models: None, compared: Compared) -> list[Result]:  # noqa: ARG001
    """Three recorded pipeline runs; each is better than the champion."""
    results = []
    for name in ("first", "second", "third"):
        outputs = {**result.outputs, "history.csv": name}
        results.append(replace(result, input=replace(result.input, run=name), outputs=outputs))
        record_result(store, results[-1])
    return results


def recorded(store: Store) -> list[Move]:
    return list(read_moves(store.client.get_registered_model("mnist")).values())


def moves(store: Store) -> list[tuple[str | None, str]]:
    """Return previous and new version of each recorded move, the last of which has to agree with the alias."""
    found = [(move.previous, move.version) for move in recorded(store)]
    assert found[-1][1] == find_champion(store, "mnist")
    return found


@pytest.mark.parametrize(
    ("tests", "objection"),
    [
        (BETTER, None),
        (WORSE, "its accuracy is significantly worse on the test images"),
        (NOISE, "its accuracy is not significantly better on the test images"),
        (
            UNSURE,
            "its Brier score is higher by 0.0228, which is more than calibration_margin=0.01 in conf/compare.yaml",
        ),
        (compare(predictions(0.9), predictions(0.9)), "its accuracy is not significantly better on the test images"),
    ],
)
def test_a_run_has_to_be_better_without_worse_probabilities(tests: list[RunTest], objection: str | None) -> None:
    assert find_objection(tests, COMPARE) == objection


@pytest.mark.parametrize(
    ("new", "objection"),
    [
        ([0.9, 0.91, 0.92], "its accuracy is significantly worse over the seeds"),
        ([0.95, 0.96, 0.97], None),
        ([0.99, 0.98, 0.99], None),
    ],
)
def test_seeds_can_only_object(new: list[float], objection: str | None) -> None:
    accuracies = {"new": pd.Series(new), "old": pd.Series([0.95, 0.955, 0.97])}
    (over_seeds,) = seeds_tests(accuracies, COMPARE.confidence, {})
    assert find_objection([*BETTER, over_seeds], COMPARE) == objection
    assert find_objection([*NOISE, over_seeds], COMPARE) is not None


@pytest.mark.usefixtures("any_store", "small_models", "compared")
def test_the_first_and_then_the_better_run_become_the_champion_and_are_registered_once(result: Result) -> None:
    store = Store(result.data)  # at the address of `any_store`
    other = replace(result, outputs={**result.outputs, "history.csv": "cdef"})
    for of_run in (result, other):
        record_result(store, of_run)
        promote(of_run)
    promote(result)
    assert moves(store)[-3:] == [(moves(store)[-3][0], "1"), ("1", "2"), ("2", "1")]


def test_a_move_is_recorded_with_its_evidence(store: Store, runs: list[Result]) -> None:
    for run in runs[:2]:
        promote(run)
    first, second = recorded(store)
    assert (first.previous, first.version, first.run, first.tests) == (None, "1", "first", [])
    assert first.reason == "there was no champion to compare with"
    assert (second.previous, second.version, second.run) == ("1", "2", "second")
    assert second.reason == "better than the champion"
    assert second.tests == json.loads(json.dumps(BETTER))
    lines = describe_history("mnist").splitlines()
    assert lines[0] == f"{first.time}  version none -> 1 (first): there was no champion to compare with"
    assert lines[1] == f"{second.time}  version 1 -> 2 (second): better than the champion"
    assert lines[2] == "    On 200 test images: new 95.00%, old 80.00%"
    assert lines[-1] == "    Brier score, lower is better: new 0.1000, old 0.3400"


@pytest.mark.parametrize("tests", [WORSE, NOISE, UNSURE])
def test_a_refused_run_is_not_registered_and_the_way_out_is_named(
    store: Store, runs: list[Result], compared: Compared, capsys: pytest.CaptureFixture[str], tests: list[RunTest]
) -> None:
    promote(runs[0])
    compared(tests)
    message = (
        r"^second does not replace version 1 \(first\): .*\. To promote it in any case: "
        r'image-classifier promote second --force "REASON"$'
    )
    with pytest.raises(InputError, match=message):
        promote(runs[1])
    assert "\nBrier score, lower is better: new 0." in capsys.readouterr().out
    assert moves(store) == [(None, "1")]
    assert len(store.client.search_model_versions("name = 'mnist'")) == 1


def test_a_forced_run_is_promoted_with_its_reason_and_the_objection(
    store: Store, runs: list[Result], compared: Compared
) -> None:
    promote(runs[0])
    compared(NOISE)
    promote(runs[1], force="half the size")
    assert (
        recorded(store)[-1].reason
        == "forced: half the size (its accuracy is not significantly better on the test images)"
    )


@pytest.mark.parametrize("error", [InputError("Other classes."), FileNotFoundError("test_images.npy")])
def test_a_run_that_cannot_be_compared_is_promoted_only_by_force(
    store: Store, runs: list[Result], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    promote(runs[0])
    monkeypatch.setattr(promotion, "compare_two_runs", fail)
    with pytest.raises(type(error), match=str(error)):
        promote(runs[1])
    promote(runs[1], force="new classes")
    assert recorded(store)[-1].reason == f"forced: new classes (not compared: {error})"


def test_a_champion_whose_files_are_lost_is_replaced_and_the_record_says_so(store: Store, runs: list[Result]) -> None:
    promote(runs[0])
    (model_folder(store) / "MLmodel").unlink()
    promote(runs[1])
    assert recorded(store)[-1].reason == "the files of the champion, version 1, are lost"


def test_the_champion_is_not_promoted_again(store: Store, runs: list[Result]) -> None:
    promote(runs[0])
    move = promote(runs[0])
    assert (move.previous, move.version) == ("1", "1")
    assert moves(store) == [(None, "1")]


def test_damaged_files_are_not_promoted_except_by_force(store: Store, runs: list[Result]) -> None:
    for run in runs[:2]:
        promote(run)
    (model_folder(store) / "data/model.keras").write_text("recorded again")
    with pytest.raises(InputError, match=r"^data/model\.keras of version 1 of mnist is damaged"):
        promote(runs[0])
    with pytest.raises(InputError, match=r"^data/model\.keras of version 1 of mnist is damaged"):
        undo("mnist")
    assert moves(store) == [(None, "1"), ("1", "2")]
    promote(runs[0], force="recorded again")
    assert promote(runs[0]).previous == "1"


def test_a_run_whose_metrics_are_not_in_the_store_is_not_promoted(store: Store, result: Result) -> None:
    message = r"^run=sgd_32 is not in MLflow with its metrics\. Record it: dvc repro .*track@sgd_32$"
    with pytest.raises(InputError, match=message):
        promote(result)
    record_result(store, result)
    result.files.metrics.write_text(json.dumps({"test_loss": 0.0, "test_accuracy": 1.0}))
    with pytest.raises(InputError, match=message):
        promote(result)
    assert find_champion(store, "mnist") is None


def test_an_ad_hoc_run_is_promoted_without_test_metrics_and_logs_its_model_once(
    store: Store, adhoc_result: Result
) -> None:
    for _ in range(2):
        assert promote(adhoc_result).version == "1"
    assert len(store.client.search_logged_models([store.experiment_id])) == 1


def test_a_run_without_a_model_is_not_promoted(store: Store, result: Result, adhoc_result: Result) -> None:
    record_result(store, adhoc_result)
    adhoc_metrics = {"test_loss": 0.2, "test_accuracy": 0.94}
    for name, value in adhoc_metrics.items():
        store.client.log_metric(record_result(store, adhoc_result), name, value)
    with pytest.raises(InputError, match=r"^run=sgd_32 is not in MLflow with its model\."):
        promote(result)


@pytest.mark.usefixtures("small_models")
def test_models_of_two_data_sets_are_registered_under_their_names(store: Store, adhoc_result: Result) -> None:
    files = {"data/prepared/letters": "4567.dir"}
    of_letters = replace(adhoc_result, input=replace(adhoc_result.input, files=files))
    promote(adhoc_result)
    promote(of_letters)
    assert {model.name for model in store.client.search_registered_models()} == {"letters", "mnist"}
    assert find_champion(Store("letters"), "letters") == find_champion(store, "mnist") == "1"


def test_each_undo_returns_to_a_still_earlier_champion(store: Store, runs: list[Result]) -> None:
    for run in runs:
        promote(run)
    undone = [undo("mnist"), undo("mnist")]
    assert [(move.previous, move.version, move.run) for move in undone] == [("3", "2", "second"), ("2", "1", "first")]
    assert undone[0].reason == "undo of version 3"
    with pytest.raises(InputError, match=r"^mnist@champion has no earlier version to return to\. Choose a run: "):
        undo("mnist")
    promote(runs[2])
    undo("mnist")
    assert moves(store) == [(None, "1"), ("1", "2"), ("2", "3"), ("3", "2"), ("2", "1"), ("1", "3"), ("3", "1")]


@pytest.mark.usefixtures("store")
def test_without_a_promotion_there_is_nothing_to_undo_or_to_list() -> None:
    with pytest.raises(InputError, match=r"^mnist@champion has no earlier version to return to\."):
        undo("mnist")
    assert describe_history("mnist") == "No promotion of mnist is recorded."


def test_a_champion_that_no_move_made_is_replaced_and_comes_back(store: Store, runs: list[Result]) -> None:
    """An older version of this project, or somebody in MLflow's UI, moved the alias and recorded nothing."""
    promote(runs[0])
    for tag in store.client.get_registered_model("mnist").tags:
        store.client.delete_registered_model_tag("mnist", tag)
    store.client.delete_model_version_tag("mnist", "1", "files.md5")
    promote(runs[1])
    promote(runs[2])
    store.client.set_registered_model_alias("mnist", CHAMPION, "1")
    assert [undo("mnist").version for _ in range(3)] == ["3", "2", "1"]
    assert recorded(store)[-3].previous == "1"


def test_a_damaged_record_is_named(store: Store, runs: list[Result]) -> None:
    promote(runs[0])
    store.client.set_registered_model_tag("mnist", "promotion.0001.to_version_1", "edited")
    with pytest.raises(InputError, match=r"^Tag promotion\.0001\.to_version_1 of MLflow's model mnist is damaged\."):
        undo("mnist")


class Killed(BaseException):
    """The end of a process."""


class MortalClient:
    """A client of MLflow that ends the process instead of its n-th call, from 0."""

    def __init__(self, client: Any, calls: int) -> None:
        self._client, self._calls = client, calls

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if not self._calls:
                raise Killed
            self._calls -= 1
            return getattr(self._client, name)(*args, **kwargs)

        return call


@contextmanager
def killed_at(calls: int, survived: list[int]) -> Iterator[None]:
    """End the process at a call of MLflow's client; if it ends before, `survived` gets the number."""

    def mortal_store(name: str) -> Store:
        store = Store(name)
        vars(store)["client"] = MortalClient(store.client, calls)
        return store

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(promotion, "Store", mortal_store)
        try:
            yield
            survived.append(calls)
        except Killed:
            pass


def test_a_process_that_is_killed_at_any_step_leaves_one_champion_and_its_record(
    store: Store, runs: list[Result]
) -> None:
    first, second, _ = runs
    promote(first)
    expected: list[tuple[str | None, str]] = [(None, "1")]
    promoted: list[int] = []
    undone: list[int] = []
    for calls in count():
        with killed_at(calls, promoted):
            promote(second)
        found = moves(store)
        version = promote(second).version
        expected.append(("1", version))
        assert found in (expected[:-1], expected)
        assert moves(store) == expected
        with killed_at(calls, undone):
            undo("mnist")
        expected.append((version, "1"))
        assert moves(store) in (expected[:-1], expected)
        if find_champion(store, "mnist") == version:
            undo("mnist")
        assert moves(store) == expected
        store.client.delete_model_version("mnist", version)  # the next promotion registers the run again
        if promoted and undone:
            break
    assert promoted[0] > 10
    assert undone[0] > 5
    tags = store.client.get_registered_model("mnist").tags
    assert len(tags) == len(expected)


def test_eight_promoters_at_once_are_compared_with_the_champion_that_they_replace(
    store: Store, runs: list[Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(runs[0])
    promoters = []
    for number in range(8):
        outputs = {**runs[0].outputs, "history.csv": str(number)}
        promoters.append(replace(runs[0], input=replace(runs[0].input, run=f"run{number}"), outputs=outputs))
        record_result(store, promoters[-1])
    barrier, compared = Barrier(8), list[tuple[str, str]]()

    def compare_two_runs(run: str, *_: object, second_name: str) -> tuple[list[RunTest], list[str]]:
        is_first = run not in [name for name, _ in compared]
        compared.append((run, second_name.removeprefix("version ").partition(" ")[0]))
        if is_first:
            barrier.wait(60)
        return BETTER, []

    monkeypatch.setattr(promotion, "compare_two_runs", compare_two_runs)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(promote, promoters))
    assert sorted(int(move.version) for move in made) == list(range(2, 10))
    versions = [version for _, version in moves(store)]
    assert [previous for previous, _ in moves(store)] == [None, *versions[:-1]]
    assert {(move.run, move.previous) for move in made} <= set(compared)
