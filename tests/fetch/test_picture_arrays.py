"""Tiny pictures as arrays in files."""

import csv
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_helpers import GOOD, SPLIT, make_folder

from image_classifier.errors import InputError
from image_classifier.fetch import picture_arrays
from image_classifier.fetch.picture_arrays import read_pictures
from image_classifier.fetch.picture_lists import Entry, list_pictures
from image_classifier.fetch.pictures import PictureTask, decode_picture
from image_classifier.files import atomic_folder

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


def read(
    entries: list[Entry], folder: Path, *, channels: int = 1, skip_unreadable: bool = False
) -> dict[str, np.ndarray]:
    """Read pictures into a folder, and return its arrays."""
    classes = tuple(sorted({entry.class_name for entry in entries}))
    task = PictureTask("pets", classes, (4, 4, channels), "pad")
    with atomic_folder(folder) as temporary:
        read_pictures(entries, task, skip_unreadable, temporary)
    return {file.stem: np.load(file) for file in folder.glob("*.npy")}


def test_pictures_become_arrays_in_the_order_of_their_names(tmp_path: Path) -> None:
    arrays = read(list_pictures(make_folder(tmp_path / "data", *GOOD)), tmp_path / "out")
    assert arrays["images"].shape == (4, 4, 4, 1)
    np.testing.assert_array_equal(arrays["images"][:, 0, 0, 0], [0, 10, 20, 30])
    np.testing.assert_array_equal(arrays["labels"], np.array([0, 0, 1, 1], np.uint8), strict=True)


def test_a_split_gives_arrays_for_each_part_and_a_list_in_their_order(tmp_path: Path) -> None:
    arrays = read(list_pictures(make_folder(tmp_path / "data", *SPLIT)), tmp_path / "out", channels=3)
    assert arrays["train_images"].shape == (2, 4, 4, 3)
    assert arrays["train_images"][:, 0, 0, 0].tolist() == [0, 10]
    assert arrays["test_images"][:, 0, 0, 0].tolist() == [20, 30]
    assert arrays["train_labels"].tolist() == arrays["test_labels"].tolist() == [0, 1]
    with (tmp_path / "out/files.csv").open() as file:
        assert list(csv.reader(file)) == [
            ["picture", "class", "part"],
            ["train/cat/1.png", "cat", "train"],
            ["train/dog/1.png", "dog", "train"],
            ["test/cat/1.png", "cat", "test"],
            ["test/dog/1.png", "dog", "test"],
        ]


def test_labels_of_more_than_256_classes_have_16_bits(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data", "a/1.png")
    classes = [f"{number:03}" for number in range(300)]
    entries = [Entry(None, name, folder / "a/1.png", "a/1.png") for name in classes]
    labels = read(entries, tmp_path / "out")["labels"]
    np.testing.assert_array_equal(labels, np.arange(300, dtype=np.uint16), strict=True)


def test_the_order_of_the_file_system_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [*GOOD, "Zebra/1.png", "Zebra/2.png", "élan/1.png", "élan/2.png", "cat/a.png", "cat/B.png", "cat/a/x.png"]
    folder, walk = make_folder(tmp_path / "data", *names), os.walk
    generator = np.random.default_rng(0)

    def shuffled_walk(*arguments: Any, **options: Any) -> Iterator[tuple[str, list[str], list[str]]]:
        for root, folders, files in walk(*arguments, **options):
            generator.shuffle(folders)
            generator.shuffle(files)
            yield root, folders, files

    expected = list_pictures(folder)
    assert len(expected) == len(names)
    monkeypatch.setattr(os, "walk", shuffled_walk)
    assert all(list_pictures(folder) == expected for _ in range(10))


def test_both_unicode_forms_of_a_disk_give_the_same_arrays(tmp_path: Path) -> None:
    names = [f"{COMPOSED}/{COMPOSED}.png", f"{COMPOSED}/cafz.png", "z/1.png", "z/2.png"]
    folders = [
        make_folder(tmp_path / form, *(unicodedata.normalize(form, name) for name in names)) for form in ("NFC", "NFD")
    ]
    one, two = (read(list_pictures(folder), tmp_path / f"{folder.name}_out") for folder in folders)
    np.testing.assert_equal(one, two)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def damage(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes((folder / name).read_bytes()[:45] if name.endswith("1.png") else b"")


def test_all_unreadable_pictures_are_reported_before_the_refusal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_folder(tmp_path / "data", *GOOD, "dog/text.txt")
    damage(folder, "cat/1.png", "dog/2.png")
    with pytest.raises(InputError, match=r"^3 of 5 pictures cannot be read\. Repair or remove them, or leave them out"):
        read(list_pictures(folder), tmp_path / "out")
    first, second, third = capsys.readouterr().err.splitlines()
    assert first.startswith("  cat/1.png: cannot be decoded: ")
    assert second == "  dog/2.png: the file is empty"
    assert third.startswith("  dog/text.txt: not a picture in one of the formats ")
    assert names_in(tmp_path) == ["data"]


def test_a_long_report_ends_with_the_number_of_further_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_folder(tmp_path / "data", *GOOD, *(f"dog/{number}.txt" for number in range(23)))
    with pytest.raises(InputError, match=r"^23 of 27 pictures cannot be read\."):
        read(list_pictures(folder), tmp_path / "out")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 21
    assert lines[-1] == "  and 3 more"


def test_unreadable_pictures_are_left_out_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_folder(tmp_path / "data", *GOOD)
    damage(folder, "cat/2.png")
    arrays = read(list_pictures(folder), tmp_path / "out", skip_unreadable=True)
    assert arrays["images"][:, 0, 0, 0].tolist() == [0, 20, 30]
    assert arrays["labels"].tolist() == [0, 1, 1]
    assert "cat/2.png" not in (tmp_path / "out/files.csv").read_text()
    assert capsys.readouterr().err.splitlines() == [
        "  cat/2.png: the file is empty",
        "Warning: 1 of 4 pictures cannot be read and are left out.",
    ]


def test_a_class_without_a_readable_picture_is_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data", *SPLIT)
    damage(folder, "test/dog/1.png")
    with pytest.raises(InputError, match=r"^The class dog has no readable picture in the test part\. "):
        read(list_pictures(folder), tmp_path / "out", skip_unreadable=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_end_in_the_middle_keeps_the_earlier_folder(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = list_pictures(make_folder(tmp_path / "data", *GOOD))
    read(entries, tmp_path / "out")

    def interrupted(file: Path, color: Any) -> np.ndarray:
        if file == entries[2].path:
            raise error
        return decode_picture(file, color)

    monkeypatch.setattr("image_classifier.fetch.pictures.decode_picture", interrupted)
    with pytest.raises(error):
        read(entries[1:], tmp_path / "out")
    assert len(np.load(tmp_path / "out/images.npy")) == 4
    assert names_in(tmp_path) == ["data", "out"]


def test_a_new_result_replaces_the_folder_and_the_rest_of_a_killed_process(tmp_path: Path) -> None:
    make_folder(tmp_path / "out", "old.txt")
    make_folder(tmp_path / ".out.4194305.partial", "half.txt")  # no process has so great an id
    read(list_pictures(make_folder(tmp_path / "data", *GOOD)), tmp_path / "out")
    assert names_in(tmp_path / "out") == ["files.csv", "images.npy", "labels.npy"]
    assert names_in(tmp_path) == ["data", "out"]


def test_pictures_of_several_batches_keep_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_arrays, "BATCH_SIZE", 3)
    names = [f"{name}/{number}.png" for name in ("cat", "dog") for number in range(5)]
    entries = list_pictures(make_folder(tmp_path / "data", *names))
    images = read(entries, tmp_path / "out")["images"]
    assert images[:, 0, 0, 0].tolist() == list(range(0, 100, 10))


def test_the_array_can_be_mapped_into_memory(tmp_path: Path) -> None:
    read(list_pictures(make_folder(tmp_path / "data", *GOOD)), tmp_path / "out")
    mapped = np.load(tmp_path / "out/images.npy", mmap_mode="r")
    assert mapped[3].max() == 30


def test_nothing_is_printed_when_standard_error_is_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    read(list_pictures(make_folder(tmp_path / "data", *GOOD)), tmp_path / "out")
    assert capsys.readouterr() == ("", "")
