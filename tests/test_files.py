import os
import subprocess
import sys
from pathlib import Path

import pytest

from image_classifier import paths
from image_classifier.errors import InputError
from image_classifier.files import (
    atomic_folder,
    atomic_write,
    file_hashes,
    read_histories,
    read_history,
    read_json,
    read_text,
    translate_damage,
)


def test_a_block_that_succeeds_replaces_the_file(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "new" / "a.csv") as temporary:
        temporary.write_text("complete")
    assert [(file.name, file.read_text()) for file in (tmp_path / "new").iterdir()] == [("a.csv", "complete")]


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("old")

    def fail() -> None:
        with atomic_write(tmp_path / "a.csv") as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.csv", "old")]


def test_the_temporary_file_has_the_suffix_that_decides_the_format(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "model.h5") as temporary:
        assert temporary.suffix == ".h5"
        temporary.touch()


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.fixture
def old_folder(tmp_path: Path) -> Path:
    """A folder with one file."""
    (tmp_path / "data/old").mkdir(parents=True)
    (tmp_path / "data/old/a.npy").touch()
    return tmp_path / "data/old"


def test_a_block_that_succeeds_replaces_the_folder_as_a_whole(old_folder: Path) -> None:
    with atomic_folder(old_folder) as temporary:
        (temporary / "b.npy").touch()
        assert names(old_folder) == ["a.npy"]
    assert names(old_folder.parent) == ["old", "old/b.npy"]


def test_a_new_folder_is_made_with_the_folder_around_it(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "data/new") as temporary:
        (temporary / "a.npy").touch()
    assert names(tmp_path) == ["data", "data/new", "data/new/a.npy"]


def test_a_block_that_fails_leaves_the_old_folder_and_nothing_else(old_folder: Path) -> None:
    def fail() -> None:
        with atomic_folder(old_folder) as temporary:
            (temporary / "half.npy").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert names(old_folder.parent) == ["old", "old/a.npy"]


def test_a_folder_replaces_a_file_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with atomic_folder(tmp_path / "data") as temporary:
        (temporary / "a.npy").touch()
    assert names(tmp_path) == ["data", "data/a.npy"]


def test_the_folder_of_a_killed_process_is_removed_and_that_of_a_running_one_is_kept(old_folder: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    for process in (ended.pid, os.getppid()):
        (old_folder.parent / f".old.{process}.partial/sub").mkdir(parents=True)
    with atomic_folder(old_folder):
        pass
    running = f".old.{os.getppid()}.partial"
    assert names(old_folder.parent) == [running, f"{running}/sub", "old"]


def test_the_leftover_of_a_file_with_a_longer_name_is_kept(tmp_path: Path) -> None:
    leftover = tmp_path / ".out.v1.999999.partial.csv"  # of out.v1.csv
    leftover.touch()
    with atomic_write(tmp_path / "out.csv") as path:
        path.touch()
    assert names(tmp_path) == [leftover.name, "out.csv"]


def test_a_missing_file_has_no_hash(tmp_path: Path) -> None:
    (tmp_path / "empty.py").touch()
    assert file_hashes(tmp_path, ["empty.py", "gone.py"]) == {"empty.py": "d41d8cd98f00b204e9800998ecf8427e"}


def test_the_hash_of_a_folder_covers_paths_and_contents_and_leaves_out_compiled_code(tmp_path: Path) -> None:
    (tmp_path / "code/sub").mkdir(parents=True)
    (tmp_path / "code/sub/a.py").write_text("a = 1")
    before = file_hashes(tmp_path, ["code"])
    (tmp_path / "code/__pycache__").mkdir()
    (tmp_path / "code/__pycache__/a.pyc").touch()
    assert file_hashes(tmp_path, ["code"]) == before
    (tmp_path / "code/b.py").touch()
    assert file_hashes(tmp_path, ["code"]) != before


def test_a_text_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes("é".encode("latin-1"))
    with pytest.raises(InputError, match=r"a\.yaml is not UTF-8 \(.*, byte 0\)\. Save it as UTF-8\.$"):
        read_text(tmp_path / "a.yaml")


@pytest.mark.parametrize("content", ["", "3", "[]", "{}", '{"a": ', '{"a": "word"}', '{"a": null}', b"\xff"])
def test_a_damaged_json_file_is_named(tmp_path: Path, content: str | bytes) -> None:
    (tmp_path / "a.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=r"^\S+a\.json is damaged \(.+\)\. Check the path\.$"):
        read_json(tmp_path / "a.json", lambda values: float(values["a"]))


COMPLETE = "epoch,loss,accuracy,val_loss,val_accuracy\n1,0.5,0.5,,\n2,0.25,0.5,0.5,0.5\n"


def test_a_history_can_lack_validations_before_the_last_epoch(tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text(COMPLETE)
    assert read_history(tmp_path / "history.csv")["loss"].to_dict() == {1: 0.5, 2: 0.25}


@pytest.mark.parametrize(
    "text",
    [
        "",
        COMPLETE.splitlines()[0],
        COMPLETE[:-5],
        COMPLETE.replace("0.25", "word"),
        COMPLETE.replace("loss,", "losses,", 1),
        COMPLETE.replace("2,0.25", ",0.25"),
        "\xff\x00",
    ],
)
def test_a_damaged_history_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "history.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"^\S+history\.csv is damaged \(.+\)\. Check the path\.$"):
        read_history(tmp_path / "history.csv")


def test_a_label_of_a_history_keeps_its_type(tmp_path: Path) -> None:
    (tmp_path / "logs.csv").write_text("run,epoch,seconds,loss,accuracy,val_loss,val_accuracy\n007,1,9,1,1,1,1\n")
    logs = read_histories(tmp_path / "logs.csv", run=str)
    assert logs.to_dict("records") == [
        {"run": "007", "epoch": 1, "loss": 1.0, "accuracy": 1.0, "val_loss": 1.0, "val_accuracy": 1.0}
    ]


@pytest.mark.parametrize(
    ("file", "remedy"),
    [
        ("runs/a/metrics.json", "Make it: dvc repro"),
        ("plots/a/confusion.png", "Make it: dvc repro"),
        ("data/prepared/pets/dataset.json", "Make it: dvc repro"),
        ("dvc.lock", "Restore it: git checkout dvc.lock"),
        ("data/published/mnist.csv", "Restore it: git checkout data/published/mnist.csv"),
        ("outputs/a/history.csv", "Remove the folder of this run, and train it again."),
    ],
)
def test_a_damaged_file_has_the_remedy_of_its_place(file: str, remedy: str) -> None:
    with pytest.raises(InputError) as raised, translate_damage(paths.ROOT / file):
        raise ValueError("first line\nsecond line")
    assert str(raised.value) == f"{paths.ROOT / file} is damaged (ValueError: first line second line). {remedy}"
