import hashlib
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import git
import pytest
import yaml

from image_classifier import paths
from image_classifier.errors import InputError
from image_classifier.paths import RunFiles
from image_classifier.provenance import result as result_module
from image_classifier.provenance.fingerprint import (
    TrainingInput,
    code_fingerprint,
    code_hashes,
    data_hash,
    recipe_fingerprint,
    training_files,
)
from image_classifier.provenance.history import StoredResult, find_commit, stored_results
from image_classifier.provenance.result import Result, check_training_data, read_result
from image_classifier.provenance.revision import Revision, committed_revision
from image_classifier.provenance.run_metadata import RunMetadata

CONFIGURATION = "epochs: 1\nmodel: {name: cnn}\n"
INPUT = {"data/prepared/mnist": "2.dir", "a": "b"}
FILES = {"config.yaml": CONFIGURATION.encode(), "history.csv": b"epoch,loss\n1,0.5\n", "model.h5": b"weights"}


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one finished run, outside git."""
    for name in ("ROOT", "DVC_ROOT"):
        monkeypatch.setattr(paths, name, tmp_path)
    for name in ("DVC_LOCK", "PARAMS"):
        monkeypatch.setattr(paths, name, tmp_path / getattr(paths, name).name)
    run = tmp_path / "runs/mnist/sgd_32"
    run.mkdir(parents=True)
    for name, content in FILES.items():
        (run / name).write_bytes(content)
    write_lock(tmp_path, stages())
    (tmp_path / "params.yaml").write_text("runs: {sgd_32: {data: mnist}}")
    return tmp_path


def stages(model: str = "weights", evaluated_model: str | None = None) -> dict[str, Any]:
    """Return the stages of a run that has been trained and evaluated, as dvc.lock has them."""

    def outputs(content: str) -> list[dict[str, str]]:
        files = {**FILES, "model.h5": content.encode()}
        return [{"path": f"runs/mnist/sgd_32/{name}", "md5": md5(content)} for name, content in files.items()]

    train = {
        "cmd": "python -m pipelines.train run=sgd_32",
        "deps": [{"path": "data/prepared/mnist", "md5": "2.dir"}],
        "params": {"conf/train.yaml": {"defaults": []}},
        "outs": outputs(model),
    }
    return {"train@sgd_32": train, "evaluate@sgd_32": {"deps": outputs(evaluated_model or model)}}


def write_lock(project: Path, content: dict[str, Any]) -> None:
    (project / "dvc.lock").write_text(yaml.safe_dump({"stages": content}))


@pytest.mark.usefixtures("project")
def test_a_finished_run_is_read_from_dvc_lock() -> None:
    result = read_result("sgd_32")
    assert result.is_pipeline_run
    assert result.input.files == {"data/prepared/mnist": "2.dir"}  # the values of conf/ are in the configuration
    assert result.input.configuration == CONFIGURATION
    assert result.outputs == {name: md5(content) for name, content in FILES.items()}
    assert result.metadata is None
    assert result.revision.commit is None
    assert result.dataset.name == "dataset_mnist.json"
    assert [file.name for file in result.diagrams] == ["cnn_mnist.png", "cnn_mnist.svg", "cnn_mnist.txt"]


@pytest.mark.parametrize(
    "content",
    [{}, {"train@sgd_32": stages()["train@sgd_32"]}, stages(evaluated_model="another")],
    ids=["untrained", "unevaluated", "evaluated before the last training"],
)
def test_an_unfinished_run_is_refused(project: Path, content: dict[str, Any]) -> None:
    write_lock(project, content)
    with pytest.raises(
        InputError, match=r"^dvc\.lock has no evaluated training of run=sgd_32\. .* dvc repro track@sgd_32$"
    ):
        read_result("sgd_32")


def test_a_changed_file_is_refused(project: Path) -> None:
    (project / "runs/mnist/sgd_32/history.csv").write_text("epoch,loss\n1,0.1\n")
    with pytest.raises(InputError, match=r"^runs/mnist/sgd_32/history\.csv differs from dvc\.lock\. .* dvc checkout"):
        read_result("sgd_32")


@pytest.mark.parametrize(("md5_now", "is_refused"), [("2.dir", False), ("3.dir", True)])
@pytest.mark.usefixtures("project")
def test_an_ad_hoc_run_whose_images_changed_after_the_training_is_refused(
    monkeypatch: pytest.MonkeyPatch, md5_now: str, is_refused: bool
) -> None:
    run = paths.adhoc_run("mine")
    run.directory.mkdir(parents=True)
    for name, content in FILES.items():
        (run.directory / name).write_bytes(content)
    command = "python -m pipelines.train run=mine"
    trained = TrainingInput("mine", command, CONFIGURATION, INPUT)
    RunMetadata(trained, 0.0, 5, {}, Revision(None)).write(run)
    monkeypatch.setattr(result_module, "training_files", lambda _data: {**INPUT, "data/prepared/mnist": md5_now})
    expected = rf"^run=mine was trained on other images than data/prepared/mnist has now\. Train again: {command}$"
    with pytest.raises(InputError, match=expected) if is_refused else nullcontext():
        check_training_data(read_result("mine"))


def test_every_distinct_result_of_the_workspace_history_and_experiments_is_listed_once(project: Path) -> None:
    author = git.Actor("test", "test@localhost")

    def commit(model: str, other: str = "") -> str:
        write_lock(project, {**stages(model), f"compare{other}": {}})
        repository.index.add(["dvc.lock", "params.yaml"])
        return repository.index.commit(model, author=author, committer=author).hexsha

    with git.Repo.init(project) as repository:
        first, second, third = commit("old"), commit("new"), commit("new", other="d")
        experiment = commit("experiment")
        repository.git.update_ref(f"refs/exps/{third[:2]}/{third[2:]}/brave-fox", experiment)
        repository.git.reset("--hard", third)
    write_lock(project, stages("uncommitted"))
    stored = {result.oldest: result for result in stored_results() if result.newest}
    assert set(stored) == {first, second, experiment}
    assert stored[second].newest == third
    assert committed_revision(experiment) == Revision(experiment, (), "brave-fox")
    assert committed_revision(second) == Revision(second)
    assert find_commit(stored[second].fingerprint) == second
    (workspace,) = [result for result in stored_results() if result.newest is None]
    assert workspace.fingerprint not in {result.fingerprint for result in stored.values()}
    assert find_commit(workspace.fingerprint) is None


def test_a_result_of_an_older_version_of_the_project_is_left_out(project: Path) -> None:
    (project / "params.yaml").write_text("runs: {sgd_32: {}}")  # there was a single data set
    assert stored_results() == []


@pytest.mark.parametrize("file", ["dvc.lock", "params.yaml"])
@pytest.mark.parametrize("text", ["<<<<<<< HEAD: [", "5", "word", "stages: 3\nruns: 3", "\0"])
def test_a_damaged_dvc_lock_or_params_yaml_is_named(project: Path, file: str, text: str) -> None:
    (project / file).write_text(text)
    with pytest.raises(InputError, match=rf"/{file} is damaged \(.+\)\. Restore it: git checkout {file}$"):
        read_result("sgd_32")


@pytest.mark.parametrize("stage", [3, {"outs": 3, "params": {"conf/train.yaml": 1}}])
def test_a_damaged_stage_of_dvc_lock_is_named(project: Path, stage: object) -> None:
    write_lock(project, {**stages(), "train@sgd_32": stage})
    with pytest.raises(InputError, match=r"/dvc\.lock is damaged \(.+\)\. Restore it: git checkout dvc\.lock$"):
        read_result("sgd_32")


@pytest.mark.usefixtures("project")
def test_damaged_run_metadata_are_named() -> None:
    file = paths.run_metadata(read_result("sgd_32").fingerprint)
    file.parent.mkdir()
    file.write_text("{")
    with pytest.raises(InputError, match=rf"^{file} is damaged \(.*\)\. Remove it"):
        read_result("sgd_32")


def test_a_removed_row_has_no_result(project: Path) -> None:
    (project / "params.yaml").write_text("runs: {other: {data: mnist}}")  # DVC leaves its stages in dvc.lock
    assert stored_results() == []
    with pytest.raises(InputError, match=r"^dvc\.lock has no evaluated training of run=sgd_32\."):
        read_result("sgd_32")


def test_two_ad_hoc_runs_with_the_same_model_are_two_results(project: Path) -> None:
    for name in ("first", "second"):
        folder = project / "outputs" / name
        shutil.copytree(project / "runs/mnist/sgd_32", folder)
        (folder / "config.yaml").write_text(f"run: {name}\n")
        RunMetadata(
            TrainingInput(name, "python", f"run: {name}\n", INPUT), 1.5, 60_000, {}, Revision(), None, [30.5]
        ).write(RunFiles(folder))
    assert [read_result(name).input.run for name in ("first", "second")] == ["first", "second"]


def test_the_metadata_of_the_first_training_with_an_input_are_kept(project: Path) -> None:
    training = TrainingInput("sgd_32", "python", CONFIGURATION, INPUT)
    metadata = RunMetadata(
        training, 1.5, 60_000, {"python": "3.11"}, Revision("c0ffee", ("params.yaml",)), "parent", [30.5]
    )
    metadata.write(RunFiles(project / "runs/mnist/sgd_32"))
    replace(metadata, epoch_seconds=[20.0]).write(
        RunFiles(project / "runs/mnist/sgd_32")
    )  # trained again: the same bytes
    assert read_result("sgd_32").metadata == metadata


def test_an_ad_hoc_run_is_read_from_its_folder(project: Path) -> None:
    (project / "outputs").mkdir()
    (project / "runs/mnist/sgd_32").rename(project / "outputs/mine")
    training = TrainingInput("mine", "python", CONFIGURATION, INPUT)
    RunMetadata(training, 1.5, 60_000, {}, Revision(), None, [30.5]).write(RunFiles(project / "outputs/mine"))
    result = read_result("mine")
    assert not result.is_pipeline_run
    assert result.input == training


@pytest.mark.parametrize(
    ("path", "name"),
    [("data/prepared/mnist", "mnist"), ("data/prepared/my-pets_2", "my-pets_2"), ("data/prepared/mnist.npz", "mnist")],
)
def test_the_name_of_the_data_set_follows_from_its_folder_or_the_file_of_older_versions(path: str, name: str) -> None:
    files = {"src/image_classifier/train": "1.dir", path: "2"}
    training = TrainingInput("sgd_32", "python", CONFIGURATION, files)
    result = Result(training, {}, RunFiles(Path("runs")), True, Revision(), None, (), Path("dataset.json"))
    stored = StoredResult("sgd_32", "0123", {"deps": files}, None, None)
    assert training.data == result.data == stored.data == name
    assert (data_hash(files), code_hashes(files)) == ("2", {"src/image_classifier/train": "1.dir"})


def test_the_fingerprint_of_an_input_covers_configuration_data_and_code_but_not_the_command() -> None:
    training = TrainingInput("sgd_32", "python", CONFIGURATION, INPUT)
    assert replace(training, command="python3").fingerprint == training.fingerprint
    assert replace(training, configuration="epochs: 2\n").fingerprint != training.fingerprint
    assert replace(training, files={**INPUT, "a": "c"}).fingerprint != training.fingerprint


def test_the_metadata_of_a_training_with_another_input_replace_the_first(project: Path) -> None:
    first = RunMetadata(TrainingInput("sgd_32", "python", CONFIGURATION, INPUT), 1.5, 60_000, {}, Revision())
    other = replace(first, input=replace(first.input, files={**INPUT, "a": "c"}))
    for metadata in (first, other):
        metadata.write(RunFiles(project / "runs/mnist/sgd_32"))
    assert read_result("sgd_32").metadata == other


def test_the_files_of_a_training_are_the_dependencies_in_dvc_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dependencies = yaml.safe_load(paths.DVC_YAML.read_text())["stages"]["train"]["do"]["deps"]
    dependencies = [path.replace("${item.data}", "letters") for path in dependencies]
    assert "data/prepared/letters" in dependencies
    for path in dependencies:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"content")
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    assert training_files("letters") == dict.fromkeys(dependencies, md5(b"content"))


def fingerprint_of(tmp_path: Path, source: str, name: str = "loop") -> str:
    folder = tmp_path / name
    folder.mkdir()
    (folder / f"{name}.py").write_text(source)
    return code_fingerprint(tmp_path, [name])


def test_comments_docstrings_and_names_of_modules_do_not_change_the_fingerprint_of_code(tmp_path: Path) -> None:
    source = 'def f(x: int) -> int:\n    """Add."""\n    return x + 1\n'
    other = "from image_classifier.dataset import CLASSES\n\n# a comment\ndef f(x: int) -> int:\n    return (x + 1)\n"
    assert fingerprint_of(tmp_path, source) == fingerprint_of(tmp_path, other, "renamed")


def test_another_value_changes_the_fingerprint_of_code(tmp_path: Path) -> None:
    assert fingerprint_of(tmp_path, "x = 1") != fingerprint_of(tmp_path, "x = 2", "renamed")


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"run": "other"}, True),
        ({"training": {"loss": "a", "seed": 2, "intra_op_threads": 1}}, True),
        ({"training": {"loss": "b", "seed": 1, "intra_op_threads": 2}}, False),
        ({"epochs": 2}, False),
    ],
    ids=["name", "seed and threads", "loss", "epochs"],
)
def test_replicates_share_everything_except_name_seed_and_threads(changes: dict[str, Any], same: bool) -> None:
    config = {"run": "sgd", "epochs": 1, "training": {"loss": "a", "seed": 1, "intra_op_threads": 2}}
    fingerprints = {recipe_fingerprint({**config, **change}, "data", "code") for change in ({}, changes)}
    assert len(fingerprints) == (1 if same else 2)
