from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from image_classifier import doctor, paths
from image_classifier.config.compose import compose, load_params, resolve
from image_classifier.config.schema import Train
from image_classifier.doctor import (
    Problem,
    configuration_problems,
    find_problems,
    folder_problems,
    pipeline_problems,
    record_problems,
)
from image_classifier.errors import InputError


def sgd_32(*overrides: str) -> dict[str, Train]:
    """The row sgd_32 with other values, as an edited file of conf/ gives them."""
    return {"sgd_32": resolve(Train, compose("train", ["run=sgd_32", *overrides]))}


def test_a_problem_is_printed_with_its_fix() -> None:
    assert str(Problem("It is broken.", "dvc repro")) == "It is broken.\n    Fix: dvc repro"


def test_the_configuration_of_the_project_has_no_problem() -> None:
    assert list(find_problems(config_only=True)) == []


def test_an_invalid_configuration_is_the_only_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> dict[str, Train]:
        raise InputError("params.yaml: runs.sgd_32: epochs=0: should be greater than 0")

    monkeypatch.setattr(doctor, "check_configuration", refuse)
    (problem,) = find_problems()
    assert problem.message == "params.yaml: runs.sgd_32: epochs=0: should be greater than 0"
    assert problem.fix.endswith("image-classifier doctor")


@pytest.mark.parametrize(
    ("override", "file", "reason"),
    [
        ("optimizer._target_=keras.optimizers.Sdg", "conf/optimizer/sgd.yaml", "Sdg"),
        ("+optimizer.momentun=0.9", "conf/optimizer/sgd.yaml", "momentun"),
        ("optimizer.momentum=2.0", "conf/optimizer/sgd.yaml", "momentum"),
        ("model.layers.0._target_=keras.layers.Conv2d", "conf/model/cnn.yaml", "Conv2d"),
        ("+model.layers.0.fitlers=32", "conf/model/cnn.yaml", "fitlers"),
    ],
)
def test_a_value_that_keras_refuses_is_named_with_its_file(override: str, file: str, reason: str) -> None:
    (problem,) = configuration_problems(sgd_32(override))
    assert problem.message.startswith(f"{file}: ")
    assert reason in problem.message


def test_rows_with_the_same_mistake_are_one_problem() -> None:
    mistaken = sgd_32("model.layers.0._target_=keras.layers.Conv2d")["sgd_32"]
    assert len(list(configuration_problems({"sgd_32": mistaken, "sgd_128": mistaken}))) == 1


@pytest.mark.parametrize(("images", "expected"), [(32, 0), (31, 1)])
def test_a_batch_is_not_larger_than_the_training_set(images: int, expected: int) -> None:
    problems = list(configuration_problems(sgd_32("batch_size=32", f"data.train_examples={images}")))
    assert len(problems) == expected
    message = (
        "runs.sgd_32: batch_size=32: should be at most 31, the number of training images (train_examples in conf/data"
    )
    assert all(message in problem.message for problem in problems)


def test_a_data_set_whose_number_of_images_is_not_known_yet_has_no_problem() -> None:
    unknown = [
        "data.train_examples=null",
        "data.test_examples=null",
        "optimizer=nadam",
    ]  # its schedule needs the number
    assert list(configuration_problems(sgd_32(*unknown))) == []


def test_a_model_that_does_not_fit_the_images_of_a_data_set_is_named() -> None:
    (problem,) = configuration_problems(sgd_32("data.image_size=[4,4]", "data.fit=pad"))
    assert problem.message.startswith("conf/model/cnn.yaml: ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([{"changed deps": {"conf/optimizer/sgd.yaml": "modified"}}], "conf/optimizer/sgd.yaml modified"),
        ([{"changed deps": {"params.yaml": {"runs.a": "modified"}}}], "params.yaml: runs.a modified"),
        (
            [{"changed deps": {"conf/optimizer/sgd.yaml": {"momentum": "modified", "nesterov": "new"}}}],
            "conf/optimizer/sgd.yaml: momentum modified, conf/optimizer/sgd.yaml: nesterov new",
        ),
        (["changed command"], "its command changed"),
    ],
)
def test_a_stage_that_does_not_match_dvc_lock_is_named_with_its_changes(changes: list[Any], message: str) -> None:
    assert list(pipeline_problems({"train@a": changes}, {"train@a"})) == [
        Problem(f"train@a does not match dvc.lock: {message}.", "dvc repro")
    ]


def test_a_folder_of_pictures_that_was_removed_is_to_be_restored() -> None:
    status = {"fetch@pets": [{"changed deps": {"/mnt/pets": "deleted"}}]}
    message, fix = "fetch@pets does not match dvc.lock: /mnt/pets deleted.", "Restore /mnt/pets, or correct its path in"
    (problem,) = pipeline_problems(status, status)
    assert problem == Problem(message, f"{fix} params.yaml.")


def test_the_files_of_a_stage_that_has_not_run_are_not_listed() -> None:
    changes = [{"changed deps": {"data/prepared/a": "modified"}}, {"changed outs": {"runs/a/a/model.h5": "deleted"}}]
    assert list(pipeline_problems({"train@a": changes}, {})) == [Problem("train@a has not run yet.", "dvc repro")]


def test_a_pipeline_without_changes_has_no_problem() -> None:
    assert list(pipeline_problems({}, {})) == []


@pytest.mark.parametrize(
    ("output", "dependency"),
    [
        ("runs/mnist/sgd_32/model.h5", "runs/mnist/sgd_32/model.h5"),
        ("runs/mnist/sgd_32/model.h5", "runs"),
        ("reports/models", "reports/models/cnn_mnist.png"),
    ],
)
def test_a_lost_output_is_not_reported_again_by_stages_that_read_it(output: str, dependency: str) -> None:
    status = {
        "train@sgd_32": [{"changed outs": {output: "deleted"}}],
        "evaluate@sgd_32": [{"changed deps": {dependency: "deleted"}}],
    }
    message = f"train@sgd_32 does not match dvc.lock: {output} deleted."
    assert list(pipeline_problems(status, status)) == [Problem(message, "dvc repro")]


@pytest.mark.parametrize(
    ("dependencies", "has_remote", "fix"),
    [
        ({}, True, "dvc pull, or dvc repro"),
        ({}, False, "dvc repro"),
        ({"conf/train.yaml": "modified"}, True, "dvc repro"),
    ],
)
def test_an_output_that_is_not_in_the_cache_may_be_in_a_remote(
    dependencies: dict[str, str], has_remote: bool, fix: str
) -> None:
    changes = [{"changed outs": {"runs/mnist/sgd_32/model.h5": "not in cache"}}, {"changed deps": dependencies}]
    (problem,) = pipeline_problems({"train@sgd_32": changes}, {"train@sgd_32"}, has_remote=has_remote)
    assert problem.fix == fix


@pytest.mark.parametrize(("recipes", "expected"), [(["new", "new"], []), (["old", "new"], ["sgd_32"])])
def test_replicates_of_an_older_recipe_are_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, recipes: list[str], expected: list[str]
) -> None:
    for folder in ("data/prepared/mnist", "runs/mnist/sgd_32"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "runs/mnist/sgd_32/config.yaml").touch()
    replicates = pd.DataFrame({"run": ["sgd_32", "sgd_32"], "recipe": recipes})
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr("image_classifier.compare.seeds.read_replicates", lambda _path: replicates)
    monkeypatch.setattr(
        "image_classifier.provenance.fingerprint.workspace_recipes", lambda _data, runs: dict.fromkeys(runs, "new")
    )
    fixes = [problem.fix for problem in doctor.replicate_problems({"sgd_32": sgd_32()["sgd_32"]})]
    assert fixes == [f"image-classifier replicate {run}" for run in expected]


@pytest.mark.parametrize(("folder", "expected"), [("/x/a b%20c'", 0), ("/x/ö", 1), ("/x/a#b", 1), ("/x/a?b", 1)])
def test_a_folder_in_which_dvc_cannot_run_queued_experiments_is_reported(folder: str, expected: int) -> None:
    problems = list(folder_problems(Path(folder)))
    assert len(problems) == expected
    assert all(problem.fix == "Move the project to another folder." for problem in problems)


@pytest.mark.parametrize(
    ("missing", "open_runs", "fixes"),
    [
        ([], [], []),
        (["mine"], [], ["python -m pipelines.track run=mine"]),
        (["mine"], [("1", "mine", "python -m pipelines.train")], ["python -m pipelines.track run=mine"]),
        ([], [("1", "other", "a command")], ["a command, or remove it: mlflow runs delete --run-id 1"]),
        ([], [("1", "sgd_32", "a command")], ["dvc repro, or remove it: mlflow runs delete --run-id 1"]),
    ],
)
def test_unrecorded_results_and_open_runs_are_reported(
    monkeypatch: pytest.MonkeyPatch, missing: list[str], open_runs: list[tuple[str, str, str]], fixes: list[str]
) -> None:
    monkeypatch.setattr(paths, "finished_adhoc_runs", lambda: ["mine"])
    monkeypatch.setattr("image_classifier.provenance.history.stored_results", list)
    monkeypatch.setattr("image_classifier.provenance.result.read_result", str)
    monkeypatch.setattr(
        "image_classifier.track.backfill.missing_results",
        lambda results: [result for result in results if result in missing],
    )
    monkeypatch.setattr("image_classifier.track.backfill.abandoned_runs", lambda _experiment: open_runs)
    assert [problem.fix for problem in record_problems(load_params())] == fixes


def test_an_unreachable_store_is_an_error_and_no_problem_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(results: list[str]) -> list[str]:
        if results:
            raise InputError("MLflow cannot be reached.")
        return []

    monkeypatch.setattr(paths, "finished_adhoc_runs", lambda: ["mine"])
    monkeypatch.setattr("image_classifier.provenance.history.stored_results", list)
    monkeypatch.setattr("image_classifier.provenance.result.read_result", str)
    monkeypatch.setattr("image_classifier.track.backfill.missing_results", refuse)
    with pytest.raises(InputError, match=r"^MLflow cannot be reached\.$"):
        list(record_problems(load_params()))


def test_a_run_whose_files_changed_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_run: str) -> None:
        raise InputError("outputs/mine has changed.")

    monkeypatch.setattr(paths, "finished_adhoc_runs", lambda: ["mine"])
    monkeypatch.setattr("image_classifier.provenance.history.stored_results", list)
    monkeypatch.setattr("image_classifier.provenance.result.read_result", refuse)
    monkeypatch.setattr("image_classifier.track.backfill.missing_results", lambda results: results)
    monkeypatch.setattr("image_classifier.track.backfill.abandoned_runs", lambda _experiment: [])
    (problem,) = record_problems(load_params())
    assert (problem.message, problem.fix) == (
        "outputs/mine has changed.",
        "Train again, or remove the run: rm -r outputs/mine",
    )
