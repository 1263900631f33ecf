"""Reading of recorded runs, and the predictions of any run."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from data_helpers import DIGITS
from mlflow import MlflowClient
from tracking_helpers import COMPARE

from image_classifier import paths
from image_classifier.compare.seeds import COLUMNS
from image_classifier.config.compose import load_params
from image_classifier.dataset import Examples, scale_pixels
from image_classifier.errors import InputError
from image_classifier.evaluate.calibration import UNCALIBRATED, Calibration
from image_classifier.evaluate.saved_model import load_model
from image_classifier.files import file_hashes
from image_classifier.paths import RunFiles
from image_classifier.provenance import result as result_module
from image_classifier.provenance.result import Result
from image_classifier.track import reader
from image_classifier.track.reader import (
    compare_two_runs,
    find_calibration,
    find_facts,
    find_model,
    find_predictions,
    find_run,
    load_other_models,
    read_run,
)
from image_classifier.track.store import Store
from image_classifier.track.writer import record_result

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 28, 28, 1), np.uint8)
TEST = Examples(PIXELS, np.arange(5, dtype=np.uint8), DIGITS)


def test_a_recorded_run_is_read_as_it_was_written(
    any_store: Store, adhoc_result: Result, history: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Result, "recipe", "the recipe")
    run_id = record_result(any_store, adhoc_result)
    record = read_run(any_store, run_id)
    assert (record.run_id, record.input) == (run_id, adhoc_result.input)
    assert (record.fingerprint, record.model) == (adhoc_result.fingerprint, adhoc_result.outputs["model.h5"])
    assert (record.commit, record.uncommitted, record.recipe) == ("c0ffee", "params.yaml", "the recipe")
    assert record.environment == {"processor": "a processor", "keras": "3.15"}
    assert record.training_images == 60
    pd.testing.assert_frame_equal(record.history, history, check_index_type=False)


def test_a_damaged_file_of_a_run_is_named(store: Store, adhoc_result: Result) -> None:
    run_id = record_result(store, adhoc_result)
    artifacts = Path(store.client.get_run(run_id).info.artifact_uri.removeprefix("file://"))
    (artifacts / "history.csv").write_text("epoch,loss\n")
    message = (
        rf"^history\.csv of MLflow run {run_id} is damaged: .* Record the run again: python -m pipelines\.track run="
    )
    with pytest.raises(InputError, match=message):
        read_run(store, run_id)


@pytest.mark.parametrize("arrays", [{"labels": TEST.labels}, {"labels": TEST.labels, "probabilities": np.eye(5)[0]}])
def test_damaged_predictions_are_named(
    result: Result, monkeypatch: pytest.MonkeyPatch, arrays: dict[str, np.ndarray]
) -> None:
    np.savez(result.files.predictions, allow_pickle=False, **arrays)
    monkeypatch.setattr(reader, "read_result", {"sgd_32": result}.__getitem__)
    with pytest.raises(InputError, match=r"predictions\.npz is damaged \("):
        find_predictions("sgd_32", TEST, load_params(), 100)


def test_a_run_without_a_result_is_refused(store: Store) -> None:
    run = store.client.create_run(store.experiment_id, run_name="unfinished")
    with pytest.raises(InputError, match=rf"^MLflow run {run.info.run_id} \(unfinished\) does not hold the complete"):
        read_run(store, run.info.run_id)


def test_an_unknown_id_is_refused(store: Store) -> None:
    with pytest.raises(InputError, match=r"Run with id=0{32} not found"):
        read_run(store, "0" * 32)


@pytest.mark.parametrize("digits", [6, 31, 32])
def test_a_run_is_found_by_the_first_digits_of_its_id(store: Store, digits: int) -> None:
    run_id = store.client.create_run(store.experiment_id).info.run_id
    found, whole = find_run(run_id[:digits], load_params())
    assert (found.uri, whole) == (store.uri, run_id)


def test_a_run_is_found_by_its_name(store: Store, result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "read_result", {"sgd_32": result}.__getitem__)
    with pytest.raises(InputError, match=r"^MLflow has no run sgd_32\. .*: image-classifier backfill\."):
        find_run("sgd_32", load_params())
    run_id = record_result(store, result)
    assert find_run("sgd_32", load_params())[1] == run_id


def test_runs_of_every_data_set_of_params_yaml_are_found(
    store: Store, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = load_params().datasets
    params = load_params().model_copy(update={"datasets": {**datasets, "letters": datasets["mnist"]}})
    letters = Store("letters")
    of_letters = replace(result, input=replace(result.input, files={"data/prepared/letters": "4567.dir"}))
    run_id = record_result(letters, of_letters)
    found, whole = find_run(run_id[:10], params)
    assert (found.experiment_id, whole) == (letters.experiment_id, run_id)
    monkeypatch.setattr(reader, "read_result", {"sgd_32": of_letters}.__getitem__)
    found, whole = find_run("sgd_32", params)
    assert (found.experiment_id, whole) == (letters.experiment_id, run_id)
    assert store.experiment_id != letters.experiment_id
    with pytest.raises(InputError, match=rf"^MLflow has no run {run_id[:10]}\."):
        find_run(run_id[:10], load_params())


def test_digits_with_which_several_ids_begin_are_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [store.client.create_run(store.experiment_id) for _ in range(2)]
    monkeypatch.setattr(MlflowClient, "search_runs", lambda *_, **__: runs)
    with pytest.raises(InputError, match=r"^abcdef: several MLflow runs .* Type more digits\.$"):
        find_run("abcdef", load_params())


@pytest.mark.parametrize("name", ["unknown", "abcde", "ABCDEF", "0" * 33])
def test_a_text_that_is_neither_a_name_nor_an_id_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=rf"^{name} is not the name of a run \("):
        find_run(name, load_params())


def test_a_pipeline_run_has_stored_predictions(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = np.eye(10, dtype=np.float32)[:5]
    np.savez(result.files.predictions, probabilities=stored, labels=TEST.labels)
    monkeypatch.setattr(reader, "read_result", {"sgd_32": result}.__getitem__)
    probabilities, recipe = find_predictions("sgd_32", TEST, load_params(), 500)
    np.testing.assert_array_equal(probabilities, stored)
    assert recipe is None
    others = replace(TEST, labels=TEST.labels[::-1])
    with pytest.raises(
        InputError, match=r"predictions\.npz and data/prepared/ have other test images\. Type: dvc repro"
    ):
        find_predictions("sgd_32", others, load_params(), 500)


def test_the_model_of_an_ad_hoc_run_predicts(adhoc_result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "adhoc_run", lambda _run: adhoc_result.files)
    monkeypatch.setattr(reader, "read_result", {"mine": adhoc_result}.__getitem__)
    monkeypatch.setattr(result_module, "training_files", lambda _data: adhoc_result.input.files)
    probabilities, _ = find_predictions("mine", TEST, load_params(), 500)
    np.testing.assert_array_equal(
        probabilities, load_model(adhoc_result.files.model).predict(scale_pixels(PIXELS), verbose=0)
    )


def test_the_model_of_an_ad_hoc_run_is_refused_after_its_data_set_has_changed(
    adhoc_result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "adhoc_run", lambda _run: adhoc_result.files)
    monkeypatch.setattr(reader, "read_result", {"mine": adhoc_result}.__getitem__)
    monkeypatch.setattr(result_module, "training_files", lambda _data: {"data/prepared/mnist": "another"})
    for use in (lambda: find_model("mine", load_params()), lambda: find_predictions("mine", TEST, load_params(), 500)):
        with pytest.raises(InputError, match=r"was trained on other images than data/prepared/mnist has now\."):
            use()


def test_the_model_of_a_recorded_run_predicts(
    store: Store, adhoc_result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Result, "recipe", "the recipe")
    run_id = record_result(store, adhoc_result)
    probabilities, recipe = find_predictions(run_id, TEST, load_params(), 500)
    np.testing.assert_array_equal(
        probabilities, load_model(adhoc_result.files.model).predict(scale_pixels(PIXELS), verbose=0)
    )
    assert recipe == "the recipe"


def test_a_recorded_run_has_stored_predictions_unless_they_are_for_other_images(store: Store, result: Result) -> None:
    stored = np.eye(10, dtype=np.float32)[:5]
    np.savez(result.files.predictions, probabilities=stored, labels=TEST.labels)
    run_id = record_result(store, result)
    probabilities, _ = find_predictions(run_id, TEST, load_params(), 500)
    np.testing.assert_array_equal(probabilities, stored)
    probabilities, _ = find_predictions(run_id, TEST[:4], load_params(), 500)
    assert probabilities.shape == (4, 10)
    assert not np.array_equal(probabilities, stored[:4])


@pytest.mark.parametrize("test", [replace(TEST, classes=tuple("abcdefghij")), replace(TEST, images=PIXELS[:, 1:])])
def test_a_recorded_run_for_other_classes_or_sizes_has_no_predictions(
    store: Store, adhoc_result: Result, test: Examples
) -> None:
    run_id = record_result(store, adhoc_result)
    with pytest.raises(InputError, match=rf"^{run_id} is trained for other classes or images of another size than"):
        find_predictions(run_id, test, load_params(), 500)


def test_two_runs_are_compared_under_the_given_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    predictions = {"row": np.eye(10)[:5], "0123": np.roll(np.eye(10)[:5], 1, axis=1)}
    monkeypatch.setattr(reader, "load_examples", lambda _folder, _part: TEST)
    monkeypatch.setattr(reader, "find_predictions", lambda run, *_: (predictions[run], None))
    monkeypatch.setattr(paths, "REPLICATES", tmp_path / "replicates.csv")
    paths.REPLICATES.write_text(f"{','.join(COLUMNS)}\n")
    (test,), missing = compare_two_runs("row", "0123", "mnist", load_params(), COMPARE, second_name="old")
    assert (test["first"], test["second"], test["accuracies"], missing) == ("row", "old", [1, 0], [])


def rename(result: Result, run: str) -> Result:
    """Return the result of another run with the same files."""
    return replace(result, input=replace(result.input, run=run), outputs={**result.outputs, "history.csv": run})


def test_the_models_of_current_runs_are_loaded_without_trials_and_open_runs(
    any_store: Store, adhoc_result: Result
) -> None:
    assert adhoc_result.metadata
    older = replace(adhoc_result, outputs={**adhoc_result.outputs, "history.csv": "cdef"})
    other = replace(rename(adhoc_result, "other"), metadata=replace(adhoc_result.metadata, started=1_800_000_000.0))
    trial = replace(rename(adhoc_result, "trial"), metadata=replace(adhoc_result.metadata, parent="a sweep"))
    for result in (other, older, adhoc_result, trial):
        record_result(any_store, result)
    any_store.client.create_run(any_store.experiment_id, run_name="unfinished")
    left_out = record_result(any_store, rename(adhoc_result, "left_out"))
    models = list(load_other_models(any_store, left_out))
    assert [name for name, *_ in models] == ["sgd_32", "other"]
    expected = load_model(adhoc_result.files.model).predict(scale_pixels(PIXELS), verbose=0)
    np.testing.assert_array_equal(models[0][1].predict(scale_pixels(PIXELS), verbose=0), expected)


def test_a_model_that_cannot_be_loaded_is_left_out_with_a_warning(
    store: Store, adhoc_result: Result, capsys: pytest.CaptureFixture[str]
) -> None:
    run_ids = [record_result(store, rename(adhoc_result, name)) for name in ("damaged", "sound", "champion")]
    artifacts = Path(store.client.get_run(run_ids[0]).info.artifact_uri.removeprefix("file://"))
    (artifacts / "model.h5").write_bytes(b"no model")
    assert [name for name, *_ in load_other_models(store, run_ids[2])] == ["sound"]
    printed = capsys.readouterr().err
    assert printed.startswith(f"Warning: damaged is left out. model.h5 of MLflow run {run_ids[0]} is damaged")
    assert printed.count("\n") == 1


def test_a_recorded_run_has_the_calibration_of_its_folder_and_an_older_one_has_none(
    any_store: Store, adhoc_result: Result
) -> None:
    run_id = record_result(any_store, adhoc_result)
    assert find_calibration(any_store, run_id) == UNCALIBRATED
    adhoc_result.files.calibration.write_text(json.dumps({"temperature": 1.5, "threshold": 0.9}))
    record_result(any_store, adhoc_result)
    assert find_calibration(any_store, run_id) == Calibration(1.5, 0.9)
    champion = record_result(any_store, rename(adhoc_result, "champion"))
    assert [calibration for *_, calibration in load_other_models(any_store, champion)] == [Calibration(1.5, 0.9)]


@pytest.mark.parametrize(("key", "value"), [("classes", list("abcdefghij")), ("image_shape", [28, 28, 3])])
def test_a_run_that_was_trained_for_another_task_is_left_out_with_a_warning(
    store: Store, adhoc_result: Result, capsys: pytest.CaptureFixture[str], key: str, value: object
) -> None:
    record_result(store, rename(adhoc_result, "older"))
    dataset = json.loads(adhoc_result.dataset.read_text())
    adhoc_result.dataset.write_text(json.dumps({**dataset, key: value}))
    champion = record_result(store, rename(adhoc_result, "champion"))
    assert list(load_other_models(store, champion)) == []
    message = "Warning: older is left out. It was trained for other classes, or images of another size.\n"
    assert capsys.readouterr().err == message


def test_a_name_that_is_no_run_is_refused_without_a_look_at_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MlflowClient, "__init__", None)
    monkeypatch.setattr(paths, "adhoc_run", lambda _run: RunFiles(Path("nowhere")))
    message = r"^sgd is not the name of a run \(sgd_32, .*\) or the id of an MLflow run\.$"
    with pytest.raises(InputError, match=message):
        find_predictions("sgd", TEST, load_params(), 500)


@pytest.mark.parametrize("held_out", [0, 20])
def test_a_folder_and_its_mlflow_run_have_the_same_facts(
    store: Store, adhoc_result: Result, held_out: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = yaml.safe_load(adhoc_result.input.configuration)
    configuration["validation"]["size"] = held_out
    assert adhoc_result.metadata
    metadata = replace(adhoc_result.metadata, training_images=60 - held_out)
    training = replace(adhoc_result.input, configuration=yaml.safe_dump(configuration))
    adhoc_result.files.configuration.write_text(training.configuration)
    outputs = {**adhoc_result.outputs, **file_hashes(adhoc_result.files.directory, ["config.yaml"])}
    result = replace(adhoc_result, input=training, outputs=outputs, metadata=metadata)
    run_id = record_result(store, result)
    monkeypatch.setattr(reader, "_is_local", lambda run, _table: run == "mine")
    monkeypatch.setattr(reader, "read_result", {"mine": result}.__getitem__)
    facts = find_facts("mine", load_params())
    assert facts["Data"] == {"images": "4567.dir", "training images": 60 - held_out}
    assert facts["Code"] == {"src/image_classifier/train": "89ab.dir", "commit": "c0ffee"}
    assert find_facts(run_id, load_params()) == facts


def test_a_result_that_another_folder_trained_lacks_images_commit_and_machine(
    result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "read_result", {"sgd_32": replace(result, metadata=None)}.__getitem__)
    facts = find_facts("sgd_32", load_params())
    assert facts["Data"]["training images"] is None
    assert facts["Code"]["commit"] is None
    assert set(facts["Machine"].values()) == {None}
