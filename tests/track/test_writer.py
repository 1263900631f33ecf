"""Recording of results: the contents of an MLflow run, and exactly one run for each result."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from tracking_helpers import epochs_of, logged, reconfigured, runs_of, superseded_runs

from image_classifier import paths
from image_classifier.evaluate.saved_model import load_model
from image_classifier.files import digest
from image_classifier.provenance.history import StoredResult
from image_classifier.provenance.result import Result
from image_classifier.provenance.run_metadata import RunMetadata
from image_classifier.track import payload, writer
from image_classifier.track.backfill import mark_current, missing_results
from image_classifier.track.live import LiveRun
from image_classifier.track.store import INPUT_TAG, Store
from image_classifier.track.ui import view
from image_classifier.track.writer import record_result, track_run

STAGE = {"deps": {"data/prepared/mnist": "4567.dir"}}


def test_a_result_is_recorded_with_parameters_metrics_and_tags(any_store: Store, result: Result) -> None:
    run = any_store.client.get_run(record_result(any_store, result))
    assert (run.info.run_name, run.info.status) == ("sgd_32", "FINISHED")
    layers = {name: text for name, text in run.data.params.items() if name.startswith("layer_")}
    assert list(layers) == [f"layer_{number}" for number in range(1, 9)]
    assert layers["layer_4"] == "{_target_: keras.layers.Dropout, name: dropout_1, rate: 0.25}"
    assert run.data.params == layers | {
        "optimizer": "SGD",
        "learning_rate": "0.01",
        "momentum": "0.0",
        "nesterov": "False",
        "batch_size": "32",
        "epochs": "10",
        "validation": "test",
        "training_images": "60",
        "validation_images": "10",
        "data": "4567.dir",
        "code": digest({"src/image_classifier/train": "89ab.dir"})[:8],
        "model": "cnn",
        "loss": "categorical_crossentropy",
        "seed": "42",
        "intra_op_threads": "2",
        "precision": "float32",
        "max_shift_px": "0",
        "label_smoothing": "0.0",
        "steps_per_execution": "30",
        "validation_batch_size": "1000",
    }
    assert run.data.metrics == pytest.approx(
        {
            "loss": 0.3,
            "accuracy": 0.9,
            "val_loss": 0.2,
            "val_accuracy": 0.94,
            "epoch_seconds": 29.25,
            "images_per_second": 60 / 29.25,
            "best_val_accuracy": 0.94,
            "best_epoch": 2,
            "training_seconds": 59.8,
            "test_loss": 0.2,
            "test_accuracy": 0.94,
        }
    )
    expected = {
        "result_fingerprint": result.fingerprint,
        "input_fingerprint": result.input.fingerprint,
        "dvc.data/prepared/mnist": "4567.dir",
        "dvc.history.csv": result.outputs["history.csv"],
        "dvc.stage": "train@sgd_32",
        "environment.keras": "3.15",
        "git.uncommitted": "params.yaml",
        "mlflow.source.git.commit": "c0ffee",
        "mlflow.source.name": "python -m pipelines.train run=sgd_32",
    }
    assert expected.items() <= run.data.tags.items()
    assert (run.info.start_time, run.info.end_time) == (1_700_000_000_000, 1_700_000_059_750)


def test_the_parameters_of_a_schedule_are_recorded_below_the_learning_rate(store: Store, adhoc_result: Result) -> None:
    schedule = {
        "_target_": "keras.optimizers.schedules.CosineDecay",
        "initial_learning_rate": 0.1,
        "decay_steps": "90%",
    }
    optimizer = {"_target_": "keras.optimizers.Nadam", "learning_rate": schedule, "use_ema": False, "clipnorm": None}
    training = reconfigured(adhoc_result.input, optimizer=optimizer)
    run = store.client.get_run(record_result(store, replace(adhoc_result, input=training)))
    assert {name: value for name, value in run.data.params.items() if "rate" in name or name == "optimizer"} == {
        "optimizer": "Nadam",
        "learning_rate": "CosineDecay",
        "learning_rate.initial_learning_rate": "0.1",
        "learning_rate.decay_steps": "90%",
    }
    assert {"use_ema", "clipnorm"}.isdisjoint(run.data.params)


@pytest.mark.parametrize(
    "changed",
    [
        {"model": {"name": "cnn", "layers": [{"_target_": "keras.layers.Flatten"}]}},
        {"validation": {"name": "held_out", "size": 20, "every_epoch": True}},
        {"training": {"loss": "kl_divergence"}},
        {"training": {"checkpoint_steps": 5}},
    ],
)
def test_a_change_of_the_configuration_changes_the_parameters(result: Result, changed: dict[str, Any]) -> None:
    assert payload.build_params(reconfigured(result.input, **changed), result.dataset) != payload.build_params(
        result.input, result.dataset
    )


@pytest.mark.parametrize(("path", "name"), [("data/prepared/mnist", "data"), ("src/image_classifier/train", "code")])
def test_a_change_of_data_or_code_changes_one_parameter(result: Result, path: str, name: str) -> None:
    edited = replace(result.input, files={**result.input.files, path: "cdef"})
    before, after = (payload.build_params(training, result.dataset) for training in (result.input, edited))
    assert {key for key in before if after[key] != before[key]} == {name}


@pytest.mark.parametrize("size", [20, 1 / 3])
def test_held_out_images_are_subtracted_from_the_training_images(result: Result, size: float) -> None:
    validation = {"name": "held_out", "size": size, "every_epoch": True}
    params = payload.build_params(reconfigured(result.input, validation=validation), result.dataset)
    assert (params["training_images"], params["validation_images"]) == ("40", "20")


def test_a_training_has_the_same_parameters_live_and_from_its_result(
    store: Store, adhoc_result: Result, metadata: RunMetadata
) -> None:
    LiveRun(store, metadata).end()
    (live,) = runs_of(store, adhoc_result)
    store.client.delete_run(live.info.run_id)
    recorded = store.client.get_run(record_result(store, replace(adhoc_result, metadata=None)))
    assert recorded.data.params == live.data.params


def test_a_run_of_an_older_version_keeps_its_parameters_and_receives_the_new_ones(
    store: Store, adhoc_result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(payload, "build_params", lambda *_: {"optimizer": "a name of old"})
        record_result(store, adhoc_result)
    run = store.client.get_run(record_result(store, adhoc_result))
    assert (run.data.params["optimizer"], run.data.params["training_images"]) == ("a name of old", "60")


def test_the_recipe_is_recorded_if_the_code_is_that_of_the_workspace(
    store: Store, adhoc_result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = record_result(store, adhoc_result)
    assert "recipe_fingerprint" not in store.client.get_run(run_id).data.tags
    monkeypatch.setattr(Result, "recipe", "the recipe")
    record_result(store, adhoc_result)
    assert store.client.get_run(run_id).data.tags["recipe_fingerprint"] == "the recipe"


def test_the_data_set_is_an_input_whose_digest_is_the_md5_of_dvc(store: Store, adhoc_result: Result) -> None:
    record_result(store, adhoc_result)
    run = store.client.get_run(record_result(store, adhoc_result))
    assert run.inputs
    (data,) = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("mnist 60 + 10", "4567.dir")
    assert json.loads(data.dataset.profile or "") == {"train_images": 60, "test_images": 10}
    assert json.loads(data.dataset.source) == {"path": "data/prepared/mnist", "md5": "4567.dir"}
    features = json.loads(data.dataset.schema or "")["mlflow_tensorspec"]["features"]
    assert features[0]["tensor-spec"]["shape"] == [-1, 28, 28, 1]


def test_the_description_has_the_result_and_the_commands_that_reproduce_it(store: Store, result: Result) -> None:
    note = store.client.get_run(record_result(store, result)).data.tags["mlflow.note.content"]
    assert note.startswith("Test accuracy 94.00%, loss 0.2000.")
    assert "```\ngit checkout c0ffee\ndvc repro evaluate@sgd_32\n```" in note
    assert "Uncommitted changes when it was recorded: `params.yaml`." in note


def test_a_value_that_keras_chose_is_named(store: Store, adhoc_result: Result) -> None:
    training = reconfigured(adhoc_result.input, library_defaults=["optimizer.rho"])
    tags = store.client.get_run(record_result(store, replace(adhoc_result, input=training))).data.tags
    assert tags["library_defaults"] == "optimizer.rho"
    assert "Keras' defaults decide `optimizer.rho`." in tags["mlflow.note.content"]


def test_a_final_training_has_its_last_validation_as_test_metrics(store: Store, adhoc_result: Result) -> None:
    validation = {"name": "final_test", "size": 0, "every_epoch": False}
    training = reconfigured(adhoc_result.input, validation=validation)
    run = store.client.get_run(record_result(store, replace(adhoc_result, input=training)))
    assert (run.data.metrics["test_loss"], run.data.metrics["test_accuracy"]) == (0.2, 0.94)


def test_an_ad_hoc_run_that_is_evaluated_receives_its_test_metrics_and_its_model(
    store: Store, adhoc_result: Result
) -> None:
    run_id = record_result(store, adhoc_result)
    query = f"source_run_id = '{run_id}'"
    assert "test_accuracy" not in store.client.get_run(run_id).data.metrics
    assert not store.client.search_logged_models([store.experiment_id], query)
    adhoc_result.files.metrics.write_text(json.dumps({"test_loss": 0.3, "test_accuracy": 0.875}))
    assert record_result(store, adhoc_result) == run_id
    run = store.client.get_run(run_id)
    assert (run.data.metrics["test_loss"], run.data.metrics["test_accuracy"]) == (0.3, 0.875)
    assert run.data.tags["mlflow.note.content"].startswith("Test accuracy 87.50%, loss 0.3000.")
    assert len(store.client.search_logged_models([store.experiment_id], query)) == 1


def test_the_calibration_of_an_evaluated_run_is_recorded(store: Store, result: Result) -> None:
    values = {"target_accuracy": 0.999, "temperature": 1.5, "threshold": 0.9, "answered_accuracy": None}
    result.files.calibration.write_text(json.dumps(values))
    run_id = record_result(store, result)
    metrics = store.client.get_run(run_id).data.metrics
    assert {name: metrics.get(name) for name in values} == values


def test_more_epochs_than_one_request_holds_are_recorded(
    any_store: Store, adhoc_result: Result, history: pd.DataFrame
) -> None:
    long = pd.concat([history] * 150, ignore_index=True)
    long.index = pd.RangeIndex(1, 301, name="epoch")
    long.to_csv(adhoc_result.files.history)
    run_id = record_result(any_store, replace(adhoc_result, metadata=None))
    assert [step for step, _ in logged(any_store, run_id)] == list(range(1, 301))


def test_the_plots_of_a_pipeline_run_are_recorded_though_they_are_in_another_folder(
    store: Store, result: Result, tmp_path: Path
) -> None:
    assert not result.files.plots.is_relative_to(result.files.directory)
    run_id = record_result(store, result)
    assert [file.path for file in store.client.list_artifacts(run_id, "plots")] == ["plots/loss.png"]
    assert Path(store.client.download_artifacts(run_id, "plots/loss.png", str(tmp_path))).read_bytes() == b"a plot"


def test_every_file_of_the_run_and_the_diagram_are_recorded(any_store: Store, adhoc_result: Result) -> None:
    run_id = record_result(any_store, adhoc_result)
    files = {file.path for file in any_store.client.list_artifacts(run_id)}
    assert files == {"config.yaml", "dataset.json", "diagram", "history.csv", "model.h5", "plots"}
    assert [file.path for file in any_store.client.list_artifacts(run_id, "diagram")] == ["diagram/cnn_mnist.png"]


def test_the_model_is_logged_once_with_a_signature_and_predicts_the_same(any_store: Store, result: Result) -> None:
    run_id = record_result(any_store, result)
    assert record_result(any_store, result) == run_id
    (model,) = any_store.client.search_logged_models([any_store.experiment_id], f"source_run_id = '{run_id}'")
    assert {metric.key: metric.value for metric in model.metrics or []} == {"test_loss": 0.2, "test_accuracy": 0.94}
    mlflow.set_tracking_uri(any_store.uri)
    loaded = mlflow.pyfunc.load_model(model.model_uri)
    assert loaded.metadata.get_input_schema().inputs[0].shape == (-1, 28, 28, 1)
    assert loaded.metadata.get_output_schema().inputs[0].shape == (-1, 10)
    images = np.random.default_rng(0).random((5, 28, 28, 1), np.float32)
    expected = load_model(result.files.model).predict(images, verbose=0)
    np.testing.assert_allclose(loaded.predict(images), expected, atol=1e-6)


def test_recording_a_result_again_changes_nothing(any_store: Store, result: Result) -> None:
    first = record_result(any_store, result)
    before = any_store.client.get_run(first)
    assert record_result(any_store, result) == first
    assert len(runs_of(any_store, result)) == 1
    after = any_store.client.get_run(first)
    assert after.data.to_dictionary() == before.data.to_dictionary()
    assert after.info.end_time == before.info.end_time
    assert len(logged(any_store, first)) == 2


def test_a_plot_that_looks_different_is_replaced(store: Store, adhoc_result: Result, tmp_path: Path) -> None:
    run_id = record_result(store, adhoc_result)
    adhoc_result.files.plot("loss").write_bytes(b"another plot")
    record_result(store, adhoc_result)
    assert (
        Path(store.client.download_artifacts(run_id, "plots/loss.png", str(tmp_path))).read_bytes() == b"another plot"
    )


@pytest.mark.parametrize(
    "step",
    ["log_batch", "log_inputs", "log_artifacts", "log_model_artifacts", "finalize_logged_model", "set_terminated"],
)
def test_an_interrupted_record_is_completed_and_not_doubled(
    store: Store, result: Result, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    class Interruption(BaseException):
        pass

    def interrupt(*_arguments: Any, **_options: Any) -> None:
        raise Interruption

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, step, interrupt)
        with pytest.raises(Interruption):
            record_result(store, result)
    run_id = record_result(store, result)
    (run,) = runs_of(store, result)
    assert (run.info.run_id, run.info.status) == (run_id, "FINISHED")
    assert logged(store, run_id) == [(1, 0.6), (2, 0.3)]
    assert len(store.client.search_logged_models([store.experiment_id], f"source_run_id = '{run_id}'")) == 1


def test_another_result_of_the_same_input_is_a_second_run(store: Store, adhoc_result: Result) -> None:
    assert adhoc_result.metadata
    later = replace(adhoc_result.metadata, started=adhoc_result.metadata.started + 100)
    outputs = {**adhoc_result.outputs, "history.csv": "cdef"}
    first = record_result(store, adhoc_result)
    second = record_result(store, replace(adhoc_result, outputs=outputs, metadata=later))
    assert [run.info.run_id for run in runs_of(store, adhoc_result)] == [first, second]


def test_the_same_result_of_a_changed_input_is_the_same_run(any_store: Store, adhoc_result: Result) -> None:
    first = record_result(any_store, adhoc_result)
    edited = replace(adhoc_result, input=replace(adhoc_result.input, files={**adhoc_result.input.files, "edited": "1"}))
    assert record_result(any_store, edited) == first
    assert any_store.client.get_run(first).data.tags[INPUT_TAG] == edited.input.fingerprint


def test_a_new_result_of_a_name_supersedes_the_older_ones_until_they_are_current_again(
    any_store: Store, adhoc_result: Result
) -> None:
    results = [replace(adhoc_result, outputs={**adhoc_result.outputs, "history.csv": text}) for text in "abc"]
    ids = [record_result(any_store, result) for result in results]
    assert superseded_runs(any_store) == dict.fromkeys(ids[:2], ids[2])
    assert any_store.client.search_runs([any_store.experiment_id], view()["searchFilter"])[0].info.run_id == ids[2]
    record_result(any_store, results[0])
    assert superseded_runs(any_store) == dict.fromkeys(ids[1:], ids[0])


def test_a_result_supersedes_neither_other_names_nor_open_runs(
    store: Store, adhoc_result: Result, metadata: RunMetadata
) -> None:
    LiveRun(store, replace(metadata, input=reconfigured(metadata.input, epochs=7))).end()
    record_result(store, replace(adhoc_result, input=replace(adhoc_result.input, run="other")))
    record_result(store, replace(adhoc_result, outputs={**adhoc_result.outputs, "history.csv": "cdef"}))
    assert superseded_runs(store) == {}


def test_a_superseded_training_that_is_continued_is_visible_again(
    store: Store, adhoc_result: Result, metadata: RunMetadata
) -> None:
    edited = replace(metadata, input=reconfigured(metadata.input, epochs=7))
    LiveRun(store, edited).end("KILLED")
    record_result(store, adhoc_result)
    assert len(superseded_runs(store)) == 1
    LiveRun(store, edited).end()
    assert superseded_runs(store) == {}


def test_the_last_result_of_each_name_is_made_current(store: Store, adhoc_result: Result) -> None:
    results = [replace(adhoc_result, outputs={**adhoc_result.outputs, "history.csv": text}) for text in "abc"]
    ids = [record_result(store, result) for result in results]
    mark_current(store, [results[2].fingerprint, results[0].fingerprint, "not recorded"])
    assert superseded_runs(store) == dict.fromkeys(ids[1:], ids[0])


def test_a_name_with_a_quote_has_one_current_run(store: Store, adhoc_result: Result) -> None:
    revision = replace(adhoc_result.revision, experiment="it's")
    ids = [
        record_result(store, replace(adhoc_result, revision=revision, outputs={**adhoc_result.outputs, "edit": text}))
        for text in "ab"
    ]
    assert superseded_runs(store) == {ids[0]: ids[1]}


def test_a_dvc_experiment_has_a_name_of_its_own_and_supersedes_no_row(store: Store, adhoc_result: Result) -> None:
    row = record_result(store, adhoc_result)
    tried = replace(
        adhoc_result,
        outputs={**adhoc_result.outputs, "history.csv": "cdef"},
        revision=replace(adhoc_result.revision, experiment="try"),
        metadata=None,
    )
    experiment = record_result(store, tried)
    assert store.client.get_run(experiment).info.run_name == "sgd_32 (try)"
    assert superseded_runs(store) == {}
    applied = record_result(store, replace(tried, revision=adhoc_result.revision))
    assert (applied, store.client.get_run(applied).info.run_name) == (experiment, "sgd_32")
    assert superseded_runs(store) == {row: experiment}
    record_result(store, replace(adhoc_result, revision=tried.revision))  # another experiment repeats the row
    assert superseded_runs(store) == {row: experiment}


def test_a_result_that_was_trained_elsewhere_is_recorded_without_times(store: Store, adhoc_result: Result) -> None:
    run = store.client.get_run(record_result(store, replace(adhoc_result, metadata=None)))
    assert {"epoch_seconds", "images_per_second", "training_seconds"}.isdisjoint(run.data.metrics)
    assert run.info.status == "FINISHED"


def test_test_metrics_that_have_changed_are_corrected(store: Store, result: Result) -> None:
    run_id = record_result(store, result)
    result.files.metrics.write_text(json.dumps({"test_loss": 0.1, "test_accuracy": 0.95}))
    record_result(store, result)
    metrics = store.client.get_run(run_id).data.metrics
    assert (metrics["test_loss"], metrics["test_accuracy"]) == (0.1, 0.95)


def test_a_result_is_missing_until_it_is_recorded(store: Store, adhoc_result: Result) -> None:
    stored = StoredResult("sgd_32", adhoc_result.fingerprint, STAGE, None, None)
    assert missing_results([stored]) == [stored]
    record_result(store, adhoc_result)
    assert missing_results([stored]) == []


def test_a_result_is_sought_in_the_experiment_of_its_data_set(store: Store, adhoc_result: Result) -> None:
    record_result(store, adhoc_result)
    stage = {"deps": {"data/prepared/letters": "4567.dir"}}
    of_letters = StoredResult("sgd_32", adhoc_result.fingerprint, stage, None, None)
    assert missing_results([of_letters]) == [of_letters]


def test_every_result_is_missing_without_a_store_which_is_not_created(no_store: Path) -> None:
    stored = StoredResult("sgd_32", "0123", STAGE, None, None)
    assert missing_results([stored]) == [stored]
    assert not no_store.exists()


def test_the_result_of_a_training_completes_its_live_run(
    any_store: Store, adhoc_result: Result, metadata: RunMetadata
) -> None:
    live_run = log_live(any_store, metadata, adhoc_result)
    assert record_result(any_store, adhoc_result) == live_run
    (run,) = runs_of(any_store, adhoc_result)
    assert run.info.status == "FINISHED"
    assert logged(any_store, live_run) == [(1, 0.6), (2, 0.3)]
    assert len(logged(any_store, live_run, "epoch_seconds")) == 2


def test_a_changed_input_with_a_known_result_leaves_one_run(
    store: Store, adhoc_result: Result, metadata: RunMetadata
) -> None:
    first = record_result(store, adhoc_result)
    edited = replace(adhoc_result.input, files={**adhoc_result.input.files, "edited": "1"})
    log_live(store, replace(metadata, input=edited), adhoc_result)
    assert record_result(store, replace(adhoc_result, input=edited)) == first
    (run,) = store.find({INPUT_TAG: edited.fingerprint})
    assert run.info.run_id == first


def test_an_ad_hoc_training_that_is_repeated_after_an_edit_leaves_one_finished_run(
    store: Store, adhoc_result: Result, metadata: RunMetadata, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "DVC_ROOT", tmp_path)
    monkeypatch.setattr(paths, "adhoc_run", {"mine": adhoc_result.files}.__getitem__)
    metadata = replace(metadata, input=replace(metadata.input, run="mine"))
    edited = replace(metadata.input, files={**metadata.input.files, "src/image_classifier/train": "cdef.dir"})
    for started in (metadata, replace(metadata, input=edited)):
        log_live(store, started, adhoc_result)
        replace(started, epoch_seconds=[30.5, 29.25]).write(adhoc_result.files)
        run_id = track_run("mine")
    (run,) = store.client.search_runs([store.experiment_id])
    assert (run.info.run_id, run.info.status) == (run_id, "FINISHED")
    assert run.data.tags[INPUT_TAG] == edited.fingerprint


def test_tracking_a_pipeline_run_writes_the_fingerprint_of_its_result(
    store: Store, result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "run_metadata/sgd_32.tracked"
    monkeypatch.setattr(paths, "tracked_marker", {"sgd_32": marker}.__getitem__)
    monkeypatch.setattr(writer, "read_result", {"sgd_32": result}.__getitem__)
    assert track_run("sgd_32") == runs_of(store, result)[0].info.run_id
    assert marker.read_text() == f"{result.fingerprint}\n"


def test_tracking_a_result_that_was_not_reproduced_warns(
    store: Store, adhoc_result: Result, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = record_result(store, replace(adhoc_result, outputs={"history.csv": "cdef"}))
    monkeypatch.setattr(writer, "read_result", {"sgd_32": adhoc_result}.__getitem__)
    second = track_run("sgd_32")
    assert f"gave different results: MLflow runs {first} and {second}." in capsys.readouterr().err


def log_live(store: Store, metadata: RunMetadata, result: Result) -> str:
    """Log the epochs of a result as its training does, and return the id of the live run."""
    live = LiveRun(store, metadata)
    for epoch, values in epochs_of(result).items():
        live.log_epoch(epoch, values)
    live.end()
    return str(store.find({INPUT_TAG: metadata.input.fingerprint})[0].info.run_id)
