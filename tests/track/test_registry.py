"""The model registry."""

import json
from dataclasses import replace

import pytest

from image_classifier.errors import InputError
from image_classifier.provenance.result import Result
from image_classifier.track.registry import find_champion, find_origin, promote
from image_classifier.track.store import Store
from image_classifier.track.writer import record_result


@pytest.mark.usefixtures("any_store")
def test_the_alias_moves_to_the_promoted_run_which_is_registered_once(result: Result) -> None:
    store = Store(result.data)  # at the address of `any_store`
    other = replace(result, outputs={**result.outputs, "history.csv": "cdef"})
    for recorded in (result, other):
        record_result(store, recorded)
    assert promote(result) == ("1", None)
    assert promote(other) == ("2", "1")
    assert promote(result) == ("1", "2")
    assert find_champion(store, "mnist") == "1"
    assert find_origin(store, "mnist", "1") == (record_result(store, result), "sgd_32")
    assert find_champion(store, "letters") is None


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
    assert promote(adhoc_result) == ("1", None)
    assert promote(adhoc_result) == ("1", "1")
    assert len(store.client.search_logged_models([store.experiment_id])) == 1


def test_a_run_without_a_model_is_not_promoted(store: Store, result: Result, adhoc_result: Result) -> None:
    record_result(store, adhoc_result)
    adhoc_metrics = {"test_loss": 0.2, "test_accuracy": 0.94}
    for name, value in adhoc_metrics.items():
        store.client.log_metric(record_result(store, adhoc_result), name, value)
    with pytest.raises(InputError, match=r"^run=sgd_32 is not in MLflow with its model\."):
        promote(result)


def test_models_of_two_data_sets_are_registered_under_their_names(store: Store, adhoc_result: Result) -> None:
    files = {"data/prepared/letters": "4567.dir"}
    of_letters = replace(adhoc_result, input=replace(adhoc_result.input, files=files))
    promote(adhoc_result)
    promote(of_letters)
    assert {model.name for model in store.client.search_registered_models()} == {"letters", "mnist"}
    assert find_champion(Store("letters"), "letters") == find_champion(store, "mnist") == "1"
