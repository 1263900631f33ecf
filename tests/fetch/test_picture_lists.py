"""Lists of tiny pictures in folders and CSV files, good and bad."""

import os
from pathlib import Path
from typing import Any

import pytest
from data_helpers import GOOD, SPLIT, make_folder

from image_classifier.errors import InputError
from image_classifier.fetch.picture_lists import Entry, list_csv, list_pictures

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


def write_csv(folder: Path, text: str) -> Path:
    make_folder(folder, *GOOD)
    (folder / "labels.csv").write_text(text, encoding="utf-8")
    return folder / "labels.csv"


def test_each_folder_is_a_class_and_deeper_folders_belong_to_it(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data", *GOOD, "dog/more/deep/1.png")
    assert [(entry.part, entry.class_name, entry.name) for entry in list_pictures(folder)] == [
        (None, "cat", "cat/1.png"),
        (None, "cat", "cat/2.png"),
        (None, "dog", "dog/1.png"),
        (None, "dog", "dog/2.png"),
        (None, "dog", "dog/more/deep/1.png"),
    ]
    assert all(entry.path == folder / entry.name for entry in list_pictures(folder))


def test_parts_are_folders_above_the_classes(tmp_path: Path) -> None:
    entries = list_pictures(make_folder(tmp_path / "data", *SPLIT))
    assert [(entry.part, entry.class_name) for entry in entries] == [
        ("test", "cat"),
        ("test", "dog"),
        ("train", "cat"),
        ("train", "dog"),
    ]


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val", "testing"])
def test_the_only_other_part_is_the_test_part(name: str, tmp_path: Path) -> None:
    entries = list_pictures(make_folder(tmp_path / "data", *(picture.replace("test", name) for picture in SPLIT)))
    assert {entry.name.split("/")[0]: entry.part for entry in entries} == {name: "test", "train": "train"}


def test_validation_pictures_join_the_training_part_if_there_is_a_test_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = list_pictures(make_folder(tmp_path / "data", *SPLIT, "val/cat/9.png"))
    assert [entry.part for entry in entries if entry.name == "val/cat/9.png"] == ["train"]
    assert capsys.readouterr().err == f"Note: {tmp_path}/data: the validation pictures belong to the train part.\n"


def test_hidden_files_and_texts_beside_the_classes_are_ignored(tmp_path: Path) -> None:
    ignored = (".DS_Store", "cat/._1.png", "cat/Thumbs.db", "dog/desktop.ini", "__MACOSX/cat/1.png", ".git/x.png")
    folder = make_folder(tmp_path / "data", *GOOD, *ignored, "README.txt", "LICENSE")
    assert [entry.name for entry in list_pictures(folder)] == list(GOOD)


def test_a_link_to_a_picture_within_the_folder_is_a_picture(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data", *GOOD)
    (folder / "dog/3.png").symlink_to("2.png")
    assert "dog/3.png" in [entry.name for entry in list_pictures(folder)]


def test_names_are_in_unicode_s_composed_form(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data", *GOOD, f"{DECOMPOSED}/1.png", f"{DECOMPOSED}/2.png")
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
    folder = make_folder(tmp_path / "data", *names)
    with pytest.raises(InputError) as raised:
        list_pictures(folder)
    assert str(raised.value).startswith(f"{folder}{message}")
    assert "\n" not in str(raised.value)


def test_too_many_classes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("image_classifier.fetch.classes.MAX_CLASSES", 1)
    folder = make_folder(tmp_path / "data", *GOOD)
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
    folder = make_folder(tmp_path / "data", *GOOD)
    (tmp_path / "outside.png").write_bytes((folder / GOOD[0]).read_bytes())
    (folder / "cat/link.png").symlink_to(target.replace("../outside", "../../outside"))
    with pytest.raises(InputError) as raised:
        list_pictures(folder)
    assert str(raised.value) == f"{folder}/cat/link.png {message}"


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data", *GOOD)
    os.mkfifo(folder / "cat/pipe.png")
    with pytest.raises(InputError, match=r"cat/pipe\.png is not a file\. "):
        list_pictures(folder)


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data", *GOOD)
    (folder / "cat" / os.fsdecode(b"caf\xe9.png")).write_text("")
    with pytest.raises(InputError, match=r"has a name that is not UTF-8\. "):
        list_pictures(folder)


def test_a_folder_without_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, scandir = make_folder(tmp_path / "data", *GOOD), os.scandir

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
    make_folder(tmp_path, "out.png")
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
