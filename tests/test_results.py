import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import git
import pytest
import yaml

from mnist_cnn import paths, results
from mnist_cnn.errors import InputError
from mnist_cnn.results import Execution, Revision, TrainingInput

CONFIGURATION = "epochs: 1\n"
FILES = {"config.yaml": CONFIGURATION.encode(), "history.csv": b"epoch,loss\n1,0.5\n", "model.h5": b"weights"}


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one finished run, outside git."""
    for name in ("ROOT", "LASTING_ROOT"):
        monkeypatch.setattr(paths, name, tmp_path)
    for name in ("DVC_LOCK", "PARAMS", "DATASET_REPORT", "MODEL_SUMMARY"):
        monkeypatch.setattr(paths, name, tmp_path / getattr(paths, name).name)
    monkeypatch.setattr(paths, "MODEL_DIAGRAMS", ())
    run = tmp_path / "runs" / "sgd_32"
    run.mkdir(parents=True)
    for name, content in FILES.items():
        (run / name).write_bytes(content)
    write_lock(tmp_path, stages())
    (tmp_path / "params.yaml").write_text("runs: {sgd_32: {}}")
    return tmp_path


def stages(model: str = "weights", evaluated_model: str | None = None) -> dict[str, Any]:
    """Return the stages of a run that has been trained and evaluated, as dvc.lock has them."""

    def outputs(content: str) -> list[dict[str, str]]:
        files = {**FILES, "model.h5": content.encode()}
        return [{"path": f"runs/sgd_32/{name}", "md5": md5(content)} for name, content in files.items()]

    train = {
        "cmd": "python -m pipelines.train run=sgd_32",
        "deps": [{"path": "conf/train.yaml", "md5": "1"}, {"path": "data/prepared/mnist.npz", "md5": "2"}],
        "outs": outputs(model),
    }
    return {"train@sgd_32": train, "evaluate@sgd_32": {"deps": outputs(evaluated_model or model)}}


def write_lock(project: Path, content: dict[str, Any]) -> None:
    (project / "dvc.lock").write_text(yaml.safe_dump({"stages": content}))


@pytest.mark.usefixtures("project")
def test_a_finished_run_is_read_from_dvc_lock() -> None:
    result = results.read("sgd_32")
    assert result.documented
    assert result.input.files == {"data/prepared/mnist.npz": "2"}  # the values of conf/ are in the configuration
    assert result.input.configuration == CONFIGURATION
    assert result.outputs == {name: md5(content) for name, content in FILES.items()}
    assert result.execution is None
    assert result.revision.commit is None


@pytest.mark.parametrize(
    "content",
    [{}, {"train@sgd_32": stages()["train@sgd_32"]}, stages(evaluated_model="another")],
    ids=["untrained", "unevaluated", "evaluated before it was trained again"],
)
def test_a_run_that_dvc_has_not_finished_is_refused(project: Path, content: dict[str, Any]) -> None:
    write_lock(project, content)
    with pytest.raises(
        InputError, match=r"^dvc\.lock has no evaluated training of run=sgd_32\. .* dvc repro track@sgd_32$"
    ):
        results.read("sgd_32")


def test_a_file_that_is_not_the_one_that_was_made_is_refused(project: Path) -> None:
    (project / "runs/sgd_32/history.csv").write_text("epoch,loss\n1,0.1\n")
    with pytest.raises(
        InputError, match=r"^runs/sgd_32/history\.csv is not the one that dvc\.lock has\. .* dvc checkout"
    ):
        results.read("sgd_32")


def test_every_distinct_result_of_the_workspace_history_and_experiments_is_held_once(project: Path) -> None:
    repository = git.Repo.init(project)
    author = git.Actor("test", "test@localhost")

    def commit(model: str, other: str = "") -> str:
        write_lock(project, {**stages(model), f"compare{other}": {}})
        repository.index.add(["dvc.lock", "params.yaml"])
        return repository.index.commit(model, author=author, committer=author).hexsha

    first, second, third = commit("old"), commit("new"), commit("new", other="d")
    experiment = commit("experiment")
    repository.git.update_ref(f"refs/exps/{third[:2]}/{third[2:]}/brave-fox", experiment)
    repository.git.reset("--hard", third)
    write_lock(project, stages("uncommitted"))
    held = {result.revision.commit: result for result in results.held() if result.newest}
    assert set(held) == {first, second, experiment}
    assert held[second].newest == third
    assert held[experiment].revision.experiment == "brave-fox"
    (workspace,) = [result for result in results.held() if result.newest is None]
    assert workspace.identity not in {result.identity for result in held.values()}


def test_a_damaged_dvc_lock_is_named(project: Path) -> None:
    (project / "dvc.lock").write_text("<<<<<<< HEAD: [")
    with pytest.raises(InputError, match=r"^dvc\.lock or params\.yaml is not YAML: .* Restore it: git checkout …$"):
        results.read("sgd_32")


@pytest.mark.usefixtures("project")
def test_a_damaged_execution_is_named() -> None:
    file = paths.execution(results.read("sgd_32").identity)
    file.parent.mkdir()
    file.write_text("{")
    with pytest.raises(InputError, match=rf"^{file} is damaged \(.*\)\. Remove it"):
        results.read("sgd_32")


def test_a_row_that_was_removed_is_no_result_any_more(project: Path) -> None:
    (project / "params.yaml").write_text("runs: {other: {}}")  # DVC leaves its stages in dvc.lock
    assert results.held() == []
    with pytest.raises(InputError, match=r"^dvc\.lock has no evaluated training of run=sgd_32\."):
        results.read("sgd_32")


def test_two_runs_by_hand_with_the_same_model_are_two_results(project: Path) -> None:
    for name in ("first", "second"):
        folder = project / "outputs" / name
        shutil.copytree(project / "runs/sgd_32", folder)
        (folder / "config.yaml").write_text(f"run: {name}\n")
        Execution(TrainingInput(name, "python", f"run: {name}\n", {}), 1.5, 60_000, {}, Revision(), None, [30.5]).write(
            folder / "model.h5"
        )
    assert [results.read(name).run for name in ("first", "second")] == ["first", "second"]


def test_the_first_execution_that_made_a_model_is_found_by_it(project: Path) -> None:
    training = TrainingInput("sgd_32", "python", CONFIGURATION, {"a": "b"})
    execution = Execution(
        training, 1.5, 60_000, {"python": "3.11"}, Revision("c0ffee", ("params.yaml",)), "parent", [30.5]
    )
    execution.write(project / "runs/sgd_32/model.h5")
    replace(execution, epoch_seconds=[20.0]).write(project / "runs/sgd_32/model.h5")  # trained again: the same bytes
    assert results.read("sgd_32").execution == execution


def test_a_run_trained_by_hand_is_read_from_its_folder(project: Path) -> None:
    (project / "outputs").mkdir()
    (project / "runs/sgd_32").rename(project / "outputs/mine")
    training = TrainingInput("mine", "python", CONFIGURATION, {"a": "b"})
    Execution(training, 1.5, 60_000, {}, Revision(), None, [30.5]).write(project / "outputs/mine/model.h5")
    result = results.read("mine")
    assert not result.documented
    assert result.input == training


def test_the_identity_of_an_input_follows_its_configuration_data_and_code_but_not_the_command() -> None:
    training = TrainingInput("sgd_32", "python", CONFIGURATION, {"a": "b"})
    assert replace(training, command="python3").identity == training.identity
    assert replace(training, configuration="epochs: 2\n").identity != training.identity
    assert replace(training, files={"a": "c"}).identity != training.identity


def test_a_training_that_begins_names_its_data_and_code_as_dvc_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in yaml.safe_load(paths.DVC_YAML.read_text())["stages"]["train"]["do"]["deps"]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"content")
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    training = results.training_input("sgd_32", "python", {"epochs": 1}, results.training_files())
    assert training.configuration == CONFIGURATION
    assert training.files["data/prepared/mnist.npz"] == md5(b"content")
    assert "src/mnist_cnn/training.py" in training.files
    assert not any(path.startswith("conf/") for path in training.files)
