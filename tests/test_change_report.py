"""The report of a project of three small runs with two commits, and its parts on tiny arrays."""

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import git
import numpy as np
import pytest
import yaml

from image_classifier import paths
from image_classifier.change_report import (
    changed_code,
    changed_stages,
    changed_values,
    new_mistakes,
    report_change,
    unpaired_test,
)
from image_classifier.config.schema import Compare
from image_classifier.errors import InputError
from image_classifier.files import md5

AUTHOR = git.Actor("test", "test@localhost")
LABELS = np.array([0, 1] * 20)  # cat, dog, cat, …
BEFORE = {"steady": range(4), "better": range(12), "cleaned": range(8), "removed": range(5)}  # images that are wrong
AFTER = {"steady": range(4), "better": [39, 20], "cleaned": range(6), "new": range(1)}
GOLDEN = Path(__file__).with_suffix(".md")


def predict(wrong: Collection[int]) -> np.ndarray:
    """Return probabilities of cat and dog; the confidence grows from 0.6 to 0.99."""
    answers = np.where(np.isin(np.arange(len(LABELS)), list(wrong)), 1 - LABELS, LABELS)
    probabilities = np.linspace(0.6, 0.99, len(LABELS))
    return np.stack([np.where(answers == answer, probabilities, 1 - probabilities) for answer in (0, 1)], axis=1)


def write_version(root: Path, runs: Mapping[str, Collection[int]], *, learning_rate: float, epochs: int) -> None:
    """Write the files of a version with runs that misclassify some images, and put the predictions into DVC's cache."""
    rows = {run: {"data": "pets", "epochs": epochs if run == "better" else 1} for run in runs}
    stages: dict[str, Any] = {}
    for run, wrong in runs.items():
        file = paths.pipeline_run("pets", run).predictions
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, probabilities=predict(wrong), labels=LABELS)
        hash_of_file = md5(file.read_bytes())
        cached = root / ".dvc/cache/files/md5" / hash_of_file[:2] / hash_of_file[2:]
        cached.parent.mkdir(parents=True, exist_ok=True)
        file.replace(cached)
        outs = [
            {"path": f"runs/pets/{run}/{name}", "md5": f"{name} {hash_of_file}"} for name in ("history.csv", "model.h5")
        ]
        stages[f"train@{run}"] = {
            "cmd": f"python -m pipelines.train run={run} epochs={rows[run]['epochs']}",
            "deps": [{"path": "data/prepared/pets", "md5": "1.dir"}],
            "params": {"conf/optimizer/sgd.yaml": {"learning_rate": learning_rate if run != "steady" else 0.01}},
            "outs": outs,
        }
        predictions = {"path": file.relative_to(root).as_posix(), "md5": hash_of_file}
        stages[f"evaluate@{run}"] = {
            "cmd": f"python -m pipelines.evaluate run={run}",
            "deps": outs,
            "outs": [predictions],
        }
    report = {
        "test_examples": len(LABELS),
        "runs": {run: {"test_accuracy": {"value": 1 - len(wrong) / len(LABELS)}} for run, wrong in runs.items()},
        "epochs": {
            run: {"epoch": [1, 2], "loss": [0.5, 0.25], "val_accuracy": [0.5, 1 - len(wrong) / len(LABELS)]}
            for run, wrong in runs.items()
        },
    }
    files = {
        "params.yaml": yaml.safe_dump({"runs": rows}),
        "dvc.lock": yaml.safe_dump({"stages": stages}, sort_keys=False),
        "dvc.yaml": yaml.safe_dump({"stages": {"train": {"do": {"deps": ["src/image_classifier/train"]}}}}),
        "conf/optimizer/sgd.yaml": f"learning_rate: {learning_rate}  # of {epochs} epochs\nname: a|b\n",
        "src/image_classifier/train/loop.py": f"EPOCHS = {epochs}\n",
        "reports/comparison_pets.json": json.dumps(report),
        "reports/dataset_pets.json": json.dumps({"classes": ["cat", "dog"]}),
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[git.Repo]:
    """A project whose first commit has no results; the second one is the base, and the workspace has not changed."""
    root = tmp_path / "project"
    monkeypatch.setattr(paths, "ROOT", root)
    for name, file in {"CONF": "conf", "PARAMS": "params.yaml", "DVC_LOCK": "dvc.lock", "DVC_YAML": "dvc.yaml"}.items():
        monkeypatch.setattr(paths, name, root / file)
    with git.Repo.init(root, initial_branch="main") as repository:
        (root / ".dvc").mkdir()
        (root / ".gitignore").write_text("/.dvc/\n/runs/\n")
        (root / "params.yaml").write_text("runs: {}\n")
        commit(repository)
        write_version(root, BEFORE, learning_rate=0.01, epochs=1)
        commit(repository)
        yield repository


def commit(repository: git.Repo) -> None:
    repository.git.add("--all")
    repository.index.commit("test", author=AUTHOR, committer=AUTHOR)


def report(base: str = "main", plots: Path | None = None) -> str:
    return report_change(base, Compare.model_construct(confidence=0.95, margin=0.001), plots)


def forget_predictions(wrong: Collection[int]) -> None:
    """Remove the predictions of a version from DVC's cache."""
    file = paths.ROOT / "predictions.npz"
    np.savez(file, probabilities=predict(wrong), labels=LABELS)
    hash_of_file = md5(file.read_bytes())
    file.unlink()
    (paths.ROOT / ".dvc/cache/files/md5" / hash_of_file[:2] / hash_of_file[2:]).unlink()


def test_the_report_of_a_change_is_the_golden_file(project: git.Repo) -> None:
    base = project.head.commit.hexsha[:10]
    write_version(paths.ROOT, AFTER, learning_rate=0.02, epochs=2)
    forget_predictions(BEFORE["cleaned"])
    assert report().replace(base, "0123456789") + "\n" == GOLDEN.read_text()


def test_committed_and_uncommitted_changes_have_the_same_report(project: git.Repo) -> None:
    write_version(paths.ROOT, AFTER, learning_rate=0.02, epochs=2)
    base = project.head.commit.hexsha
    uncommitted = report(base)
    commit(project)
    assert report(base) == uncommitted


@pytest.mark.usefixtures("project")
def test_predictions_of_the_workspace_are_found_without_the_cache() -> None:
    write_version(paths.ROOT, AFTER, learning_rate=0.02, epochs=2)
    paired = report()
    forget_predictions(AFTER["better"])
    assert "Not paired: `better`" in report()
    np.savez(paths.pipeline_run("pets", "better").predictions, probabilities=predict(AFTER["better"]), labels=LABELS)
    assert report() == paired


@pytest.mark.usefixtures("project")
def test_without_a_change_the_report_is_one_sentence() -> None:
    conf = paths.ROOT / "conf/optimizer/sgd.yaml"
    conf.write_text(conf.read_text() + "# a comment\nhydra: {help: {header: Text of --help}}\n")
    assert report().startswith("Configuration, code and results are the same in `main` (commit ")
    assert report().count("\n") == 0


@pytest.mark.usefixtures("project")
def test_a_configuration_that_no_stage_has_used_is_pointed_out() -> None:
    conf = paths.ROOT / "conf/optimizer/sgd.yaml"
    conf.write_text(conf.read_text() + "momentum: 0.9\n")
    text = report()
    assert "| `conf/optimizer/sgd.yaml: momentum` | -        | `0.9`   |" in text
    assert "dvc.lock is the same in both." in text
    assert "## Curves" not in text


@pytest.mark.usefixtures("project")
def test_curves_are_drawn_into_a_folder_that_the_report_links_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_version(paths.ROOT, AFTER, learning_rate=0.02, epochs=2)
    assert "![Loss and validation accuracy on pets](drawn/curves_pets.png)" in report(plots=tmp_path / "drawn")
    assert (tmp_path / "drawn/curves_pets.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("base", "reason"),
    [
        ("nowhere", r"git cannot check out commit nowhere \(.*\)\. Try: git fetch --all"),
        ("main~1", r"main~1 has no dvc\.lock, so its results are unknown\. Choose another --base\."),
    ],
)
def test_a_revision_without_results_is_refused_in_one_line(base: str, reason: str) -> None:
    with pytest.raises(InputError, match=f"^{reason}$"):
        report(base)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("reports/comparison_pets.json", '{"runs": '),
        ("reports/comparison_pets.json", '{"test_examples": 40, "runs": {}, "epochs": {}}'),
        ("dvc.lock", "stages: ["),
        ("dvc.lock", "stages: {train@steady: 3}"),
        ("dvc.lock", "stages: {diagram: {outs: 3}}"),
        ("params.yaml", "runs: 3"),
        ("conf/optimizer/sgd.yaml", "a: ["),
    ],
)
def test_a_damaged_file_of_either_version_is_named_in_one_line(project: git.Repo, file: str, text: str) -> None:
    good = (paths.ROOT / file).read_text()
    (paths.ROOT / file).write_text(text)
    with pytest.raises(InputError, match=rf"^{paths.ROOT / file} is damaged \(.*\)\. (Restore|Make) it: [^\n]*$"):
        report()
    commit(project)
    (paths.ROOT / file).write_text(good)
    with pytest.raises(InputError, match=rf"^main: {file} is damaged \(.*\)\. Choose another --base\.$"):
        report()


def test_code_that_differs_is_listed_with_its_stages(project: git.Repo, tmp_path: Path) -> None:
    other = project.clone(tmp_path / "other")
    assert changed_code(Path(other.working_dir)) == {}
    (paths.ROOT / "src/image_classifier/train/new.py").write_text("")
    assert changed_code(Path(other.working_dir)) == {"src/image_classifier/train": ["train"]}


def test_a_value_that_differs_is_listed_and_a_new_or_removed_file_is_one_row() -> None:
    before: dict[str, dict[str, Any]] = {"a.yaml": {"x": 1, "y.z": [1]}, "old.yaml": {"x": 1, "y": 2}}
    after: dict[str, dict[str, Any]] = {"a.yaml": {"x": 1, "y.z": [2]}, "new.yaml": {"x": 1, "y": 2}}
    changes = [("a.yaml: y.z", [1], [2]), ("new.yaml", "-", "file"), ("old.yaml", "file", "-")]
    assert changed_values(before, after) == changes


def test_a_stage_is_listed_with_the_names_of_its_changes() -> None:
    before = {"same": ({"a": "1"}, {"b": "2"}), "changed": ({"a": "1", "c": "3"}, {"b": "2"}), "old": ({"a": "1"}, {})}
    after = {"same": ({"a": "1"}, {"b": "2"}), "changed": ({"a": "4"}, {"b": "2"}), "young": ({}, {"b": "1"})}
    assert changed_stages(before, after) == [
        {"stage": "`changed`", "changed dependencies": "`a`, `c`", "changed outputs": ""},
        {"stage": "`young` (new)", "changed dependencies": "", "changed outputs": "`b`"},
        {"stage": "`old` (removed)", "changed dependencies": "`a`", "changed outputs": ""},
    ]


def test_new_mistakes_were_right_before_and_the_most_confident_come_first() -> None:
    labels = np.array([0, 0, 1, 1, 0])
    before = np.array([[0.9, 0.1], [0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.6, 0.4]])
    after = np.array([[0.4, 0.6], [0.9, 0.1], [0.9, 0.1], [0.8, 0.2], [0.2, 0.8]])
    assert new_mistakes(before, after, labels) == [(3, 1, 0, 0.8), (4, 0, 1, 0.8), (0, 0, 1, 0.6)]


def test_at_most_ten_mistakes_are_listed() -> None:
    right, wrong = np.tile([0.9, 0.1], (12, 1)), np.tile([0.1, 0.9], (12, 1))
    assert len(new_mistakes(right, wrong, np.zeros(12, int))) == 10


def test_the_unpaired_test_has_the_interval_and_the_p_value_of_the_literature() -> None:
    # Newcombe (1998), table II, example a, method 10
    test, interval = unpaired_test((56, 70), (48, 80))
    assert [round(value, 4) for value in (test["difference"], *interval(0.95))] == [0.2, 0.0524, 0.3339]
    tea, _ = unpaired_test((3, 4), (1, 4))  # Fisher's lady tasting tea: twice 17/70
    assert tea["p_value"] == pytest.approx(34 / 70)
