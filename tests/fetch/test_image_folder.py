"""Folders and CSV files of tiny pictures, good and bad."""

import csv
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from image_classifier.errors import InputError
from image_classifier.fetch import image_folder
from image_classifier.fetch.image_folder import Entry, list_csv, list_pictures, read_pictures
from image_classifier.fetch.pictures import decode_picture
from image_classifier.files import atomic_folder

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"
GOOD = ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")
SPLIT = ("train/cat/1.png", "train/dog/1.png", "test/cat/1.png", "test/dog/1.png")


def make(folder: Path, *names: str) -> Path:
    """Make a folder of grey pictures, of empty folders (names that end in "/") and of texts, all different."""
    folder.mkdir(exist_ok=True)
    for level, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir()
        elif path.suffix == ".png":
            Image.new("L", (4, 4), 10 * level).save(path)
        else:
            path.write_text("text")
    return folder


def write_csv(folder: Path, text: str) -> Path:
    make(folder, *GOOD)
    (folder / "labels.csv").write_text(text, encoding="utf-8")
    return folder / "labels.csv"


def read(entries: list[Entry], folder: Path, **changed: Any) -> dict[str, np.ndarray]:
    """Read pictures into a folder, and return its arrays."""
    options: dict[str, Any] = {"size": (4, 4), "color": "gray", "fit": "pad", "skip_unreadable": False, **changed}
    classes = sorted({entry.class_name for entry in entries})
    with atomic_folder(folder) as temporary:
        read_pictures(entries, **{"classes": classes, "folder": temporary, **options})
    return {file.stem: np.load(file) for file in folder.glob("*.npy")}


def test_each_folder_is_a_class_and_deeper_folders_belong_to_it(tmp_path: Path) -> None:
    folder = make(tmp_path / "data", *GOOD, "dog/more/deep/1.png")
    assert [(entry.part, entry.class_name, entry.name) for entry in list_pictures(folder)] == [
        (None, "cat", "cat/1.png"),
        (None, "cat", "cat/2.png"),
        (None, "dog", "dog/1.png"),
        (None, "dog", "dog/2.png"),
        (None, "dog", "dog/more/deep/1.png"),
    ]
    assert all(entry.path == folder / entry.name for entry in list_pictures(folder))


def test_parts_are_folders_above_the_classes(tmp_path: Path) -> None:
    entries = list_pictures(make(tmp_path / "data", *SPLIT))
    assert [(entry.part, entry.class_name) for entry in entries] == [
        ("test", "cat"),
        ("test", "dog"),
        ("train", "cat"),
        ("train", "dog"),
    ]


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val", "testing"])
def test_the_only_other_part_is_the_test_part(name: str, tmp_path: Path) -> None:
    entries = list_pictures(make(tmp_path / "data", *(picture.replace("test", name) for picture in SPLIT)))
    assert {entry.name.split("/")[0]: entry.part for entry in entries} == {name: "test", "train": "train"}


def test_validation_pictures_join_the_training_part_if_there_is_a_test_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = list_pictures(make(tmp_path / "data", *SPLIT, "val/cat/9.png"))
    assert [entry.part for entry in entries if entry.name == "val/cat/9.png"] == ["train"]
    assert capsys.readouterr().err == f"Note: {tmp_path}/data: the validation pictures belong to the train part.\n"


def test_hidden_files_and_texts_beside_the_classes_are_ignored(tmp_path: Path) -> None:
    ignored = (".DS_Store", "cat/._1.png", "cat/Thumbs.db", "dog/desktop.ini", "__MACOSX/cat/1.png", ".git/x.png")
    folder = make(tmp_path / "data", *GOOD, *ignored, "README.txt", "LICENSE")
    assert [entry.name for entry in list_pictures(folder)] == list(GOOD)


def test_a_link_to_a_picture_within_the_folder_is_a_picture(tmp_path: Path) -> None:
    folder = make(tmp_path / "data", *GOOD)
    (folder / "dog/3.png").symlink_to("2.png")
    assert "dog/3.png" in [entry.name for entry in list_pictures(folder)]


def test_names_are_in_unicode_s_composed_form(tmp_path: Path) -> None:
    folder = make(tmp_path / "data", *GOOD, f"{DECOMPOSED}/1.png", f"{DECOMPOSED}/2.png")
    accented = list_pictures(folder)[0]
    assert (accented.class_name, accented.name) == (COMPOSED, f"{COMPOSED}/1.png")
    assert accented.path.exists()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), " is empty. Put the pictures of each class into a folder named after the class."),
        ((".DS_Store",), " is empty. Put "),
        (("README.txt",), " has no pictures. Put the pictures of each class into a folder named after the class."),
        (("1.png", "2.png"), ": 1.png is not in a class folder. Move it into the one of its class."),
        ((*GOOD, "x.JPG"), ": x.JPG is not in a class folder. Move it into the one of its class."),
        ((*SPLIT, "train/x.png"), ": train/x.png is not in a class folder. "),
        (("cat/1.png", "cat/2.png"), " has fewer than two classes (cat). Add pictures of others."),
        ((*GOOD, "eel/"), ": the class folder eel is empty. Add pictures, or remove it."),
        ((*GOOD, "eel/.hidden", "eel/deep/"), ": the class folder eel is empty. "),
        ((*SPLIT, "train/eel/"), ": the class folder train/eel is empty. "),
        (
            (*GOOD, "eel/1.png"),
            ": the class eel has a single picture. Add another one: training and test need one each.",
        ),
        ((*GOOD, "Cat/1.png", "Cat/2.png"), ": the classes 'Cat' and 'cat' differ only in case or Unicode form. Give "),
        (
            (*GOOD, f"{COMPOSED}/1.png", f"{DECOMPOSED}/2.png"),
            r": the classes 'cafe\u0301' and 'caf\xe9' differ only in case or Unicode form. Give ",
        ),
        (
            ("train/cat/1.png", "train/dog/1.png", "test/Cat/1.png", "test/dog/1.png"),
            ": the classes 'Cat' and 'cat' differ only in case or Unicode form. ",
        ),
        (
            (*SPLIT, "eel/1.png"),
            " has the part test and beside it the folder eel. Move all class folders into train/ and test/, or rename ",
        ),
        ((*GOOD, "train/1.png"), " has the part train and beside it the folder cat. Move all class folders into "),
        ((*SPLIT, "train/eel/1.png"), ": the test part has no picture of the class eel. Add one."),
        ((*SPLIT, "test/eel/1.png"), ": the train part has no picture of the class eel. Add one."),
        (SPLIT[:2], " has no test part. Add it, or name no parts: the project then splits the pictures."),
        (SPLIT[2:], " has no train part. Add it, or name no parts: "),
        (
            ("test/cat/1.png", "val/cat/1.png", "test/dog/1.png"),
            ": the train part has no picture of the class dog. Add ",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_bad_folder_is_refused_in_one_line(names: tuple[str, ...], message: str, tmp_path: Path) -> None:
    folder = make(tmp_path / "data", *names)
    with pytest.raises(InputError) as raised:
        list_pictures(folder)
    assert str(raised.value).startswith(f"{folder}{message}")
    assert "\n" not in str(raised.value)


def test_too_many_classes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("image_classifier.fetch.classes.MAX_CLASSES", 1)
    folder = make(tmp_path / "data", *GOOD)
    with pytest.raises(InputError, match=r"data has 2 classes\. Use at most 1\.$"):
        list_pictures(folder)


def test_a_missing_folder_and_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"missing does not exist\. Name the folder of pictures\.$"):
        list_pictures(tmp_path / "missing")
    with pytest.raises(InputError, match=r"file is a file\. Name the folder of pictures\.$"):
        list_pictures(tmp_path / "file")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("../outside.png", "leads out of the folder data. Replace it by the file itself, or remove it."),
        ("missing.png", "is a link to a missing file. Replace it by the file itself, or remove it."),
        ("link.png", "is a link to a missing file. Replace it by the file itself, or remove it."),
        ("../dog", "is a link to a folder. Replace it by the folder itself."),
        ("../..", "is a link to a folder. Replace it by the folder itself."),
    ],
)
def test_a_link_that_is_no_picture_of_the_folder_is_refused(target: str, message: str, tmp_path: Path) -> None:
    folder = make(tmp_path / "data", *GOOD)
    (tmp_path / "outside.png").write_bytes((folder / GOOD[0]).read_bytes())
    (folder / "cat/link.png").symlink_to(target.replace("../outside", "../../outside"))
    with pytest.raises(InputError) as raised:
        list_pictures(folder)
    assert str(raised.value) == f"{folder}/cat/link.png {message}"


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    folder = make(tmp_path / "data", *GOOD)
    os.mkfifo(folder / "cat/pipe.png")
    with pytest.raises(InputError, match=r"cat/pipe\.png is not a file\. "):
        list_pictures(folder)


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    folder = make(tmp_path / "data", *GOOD)
    (folder / "cat" / os.fsdecode(b"caf\xe9.png")).write_text("")
    with pytest.raises(InputError, match=r"has a name that is not UTF-8\. "):
        list_pictures(folder)


def test_a_folder_without_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, scandir = make(tmp_path / "data", *GOOD), os.scandir

    def forbid_dog(path: str) -> Any:
        if path.endswith("dog"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbid_dog)
    with pytest.raises(InputError, match=r"data/dog cannot be read \(Permission denied\)\. Change its permissions\.$"):
        list_pictures(folder)


def test_a_csv_file_names_pictures_labels_and_parts(tmp_path: Path) -> None:
    file = write_csv(
        tmp_path / "data",
        "label,path,split,comment\nb,./dog/2.png,test,x\na,cat/1.png,train,\nb,cat/2.png,train,\na,dog/1.png,test,\n",
    )
    assert list_csv(file) == [
        Entry("train", "a", tmp_path / "data/cat/1.png", "cat/1.png"),
        Entry("train", "b", tmp_path / "data/cat/2.png", "cat/2.png"),
        Entry("test", "a", tmp_path / "data/dog/1.png", "dog/1.png"),
        Entry("test", "b", tmp_path / "data/dog/2.png", "dog/2.png"),
    ]


def test_a_csv_file_of_a_spreadsheet_has_a_byte_order_mark(tmp_path: Path) -> None:
    lines = "\r\n".join(f"{name},{name.split('/')[0]}" for name in GOOD)
    assert list_csv(write_csv(tmp_path / "data", f"\ufeffpath,label\r\n{lines}\r\n")) == list_pictures(
        tmp_path / "data"
    )


ROWS = "".join(f"{name},{name.split('/')[0]}\n" for name in GOOD)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ", line 1: no column path (found: none). Name the columns path and label."),
        ("path,class\n", ", line 1: no column label (found: path, class). Name the columns path and label."),
        ("path;label\n", ", line 1: no column path (found: path;label). "),
        ("path,label\n", " has fewer than two classes (none). Add pictures of others."),
        (
            f"path,label\n{ROWS}cat/9.png,cat\n",
            ", line 6: cat/9.png is missing. A path is relative to the folder of the ",
        ),
        (f"path,label\n{ROWS}cat,cat\n", ", line 6: cat is not a file. "),
        (f"path,label\n{ROWS}../out.png,cat\n", ", line 6: ../out.png leads out of the folder data. "),
        (f"path,label\n{ROWS}cat/../cat/1.png,cat\n", ", line 6: cat/1.png is listed twice. Remove one of the lines."),
        (f"path,label\n{ROWS},cat\n", ", line 6: path is empty. Add the value, or remove the line."),
        (f"path,label\n{ROWS}dog/1.png\n", ", line 6: label is empty. "),
        ("path,label,part\ncat/1.png,cat,\n", ", line 2: part is empty. "),
        ("path,label,part\ncat/1.png,cat,holdout\n", ", line 2: the part 'holdout' is not one of train, test and "),
        ('path,label\n"cat/1.png,cat\n', ", line 2: unexpected end of data. Save it as a comma-separated file."),
        ("path,label\ncat/1.png,cat\ncat/2.png,Cat\n", ": the classes 'Cat' and 'cat' differ only in case or Unicode "),
        ("path,label\ncat/1.png,a\ncat/2.png,a\ndog/1.png,b\n", ": the class b has a single picture. "),
        ("path,label,part\ncat/1.png,a,train\ncat/2.png,b,train\n", " has no test part. "),
    ],
)
def test_a_bad_csv_file_is_refused_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    make(tmp_path, "out.png")
    file = write_csv(tmp_path / "data", text)
    with pytest.raises(InputError) as raised:
        list_csv(file)
    assert str(raised.value).startswith(f"{file}{message}")
    assert "\n" not in str(raised.value)


def test_a_csv_file_that_is_missing_or_not_utf_8_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes("path,label\ncafé.png,a\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.csv is not UTF-8 \(.*, byte 14\)\. Save it as UTF-8\.$"):
        list_csv(tmp_path / "latin.csv")
    with pytest.raises(InputError, match=r"missing\.csv does not exist\. Name a CSV file\.$"):
        list_csv(tmp_path / "missing.csv")


def test_pictures_become_arrays_in_the_order_of_their_names(tmp_path: Path) -> None:
    arrays = read(list_pictures(make(tmp_path / "data", *GOOD)), tmp_path / "out")
    assert arrays["images"].shape == (4, 4, 4, 1)
    np.testing.assert_array_equal(arrays["images"][:, 0, 0, 0], [0, 10, 20, 30])
    np.testing.assert_array_equal(arrays["labels"], np.array([0, 0, 1, 1], np.uint8), strict=True)


def test_a_split_gives_arrays_for_each_part_and_a_list_in_their_order(tmp_path: Path) -> None:
    arrays = read(list_pictures(make(tmp_path / "data", *SPLIT)), tmp_path / "out", color="rgb")
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
    folder = make(tmp_path / "data", "a/1.png")
    classes = [f"{number:03}" for number in range(300)]
    entries = [Entry(None, name, folder / "a/1.png", "a/1.png") for name in classes]
    labels = read(entries, tmp_path / "out", classes=classes)["labels"]
    np.testing.assert_array_equal(labels, np.arange(300, dtype=np.uint16), strict=True)


def test_the_order_of_the_file_system_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [*GOOD, "Zebra/1.png", "Zebra/2.png", "élan/1.png", "élan/2.png", "cat/a.png", "cat/B.png", "cat/a/x.png"]
    folder, walk = make(tmp_path / "data", *names), os.walk
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
    folders = [make(tmp_path / form, *(unicodedata.normalize(form, name) for name in names)) for form in ("NFC", "NFD")]
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
    folder = make(tmp_path / "data", *GOOD, "dog/text.txt")
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
    folder = make(tmp_path / "data", *GOOD, *(f"dog/{number}.txt" for number in range(23)))
    with pytest.raises(InputError, match=r"^23 of 27 pictures cannot be read\."):
        read(list_pictures(folder), tmp_path / "out")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 21
    assert lines[-1] == "  and 3 more"


def test_unreadable_pictures_are_left_out_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make(tmp_path / "data", *GOOD)
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
    folder = make(tmp_path / "data", *SPLIT)
    damage(folder, "test/dog/1.png")
    with pytest.raises(InputError, match=r"^The class dog has no readable picture in the test part\. "):
        read(list_pictures(folder), tmp_path / "out", skip_unreadable=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_end_in_the_middle_keeps_the_earlier_folder(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = list_pictures(make(tmp_path / "data", *GOOD))
    read(entries, tmp_path / "out")

    def interrupted(file: Path, color: Any) -> np.ndarray:
        if file == entries[2].path:
            raise error
        return decode_picture(file, color)

    monkeypatch.setattr("image_classifier.fetch.image_folder.decode_picture", interrupted)
    with pytest.raises(error):
        read(entries[1:], tmp_path / "out")
    assert len(np.load(tmp_path / "out/images.npy")) == 4
    assert names_in(tmp_path) == ["data", "out"]


def test_a_new_result_replaces_the_folder_and_the_rest_of_a_killed_process(tmp_path: Path) -> None:
    make(tmp_path / "out", "old.txt")
    make(tmp_path / ".out.4194305.partial", "half.txt")  # no process has so great an id
    read(list_pictures(make(tmp_path / "data", *GOOD)), tmp_path / "out")
    assert names_in(tmp_path / "out") == ["files.csv", "images.npy", "labels.npy"]
    assert names_in(tmp_path) == ["data", "out"]


def test_pictures_of_several_batches_keep_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_folder, "BATCH_SIZE", 3)
    names = [f"{name}/{number}.png" for name in ("cat", "dog") for number in range(5)]
    entries = list_pictures(make(tmp_path / "data", *names))
    images = read(entries, tmp_path / "out")["images"]
    assert images[:, 0, 0, 0].tolist() == list(range(0, 100, 10))


def test_the_array_can_be_mapped_into_memory(tmp_path: Path) -> None:
    read(list_pictures(make(tmp_path / "data", *GOOD)), tmp_path / "out")
    mapped = np.load(tmp_path / "out/images.npy", mmap_mode="r")
    assert mapped[3].max() == 30


def test_nothing_is_printed_when_standard_error_is_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    read(list_pictures(make(tmp_path / "data", *GOOD)), tmp_path / "out")
    assert capsys.readouterr() == ("", "")
