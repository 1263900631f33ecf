"""Lists of the pictures in a folder per class, or in a CSV file."""

import csv
import io
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from image_classifier.errors import InputError
from image_classifier.fetch.classes import check_class_counts, check_class_names, nfc
from image_classifier.fetch.pictures import FORMATS

PARTS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}
SYSTEM_FILES = {"thumbs.db", "desktop.ini", "__macosx"}  # besides names that begin with a dot


class Entry(NamedTuple):
    """A picture of a data set.

    Attributes:
        part: "train" or "test", or None if the data has no split of its own.
        class_name: Name of its class, in Unicode's form NFC.
        path: Location of the file.
        name: POSIX path relative to the folder of the data, in Unicode's form NFC.
    """

    part: str | None
    class_name: str
    path: Path
    name: str


def list_pictures(folder: Path) -> list[Entry]:
    """List the pictures of a folder, sorted by name.

    The layout is `<class>/…` or `train/<class>/…` and `test/<class>/…`; pictures in deeper folders belong to the class.
    A part val, valid or validation is the test part if there is no other one; otherwise its pictures join the training
    part, and a note on standard error says so. Hidden files, files of Windows and macOS, and texts beside the class
    folders are ignored.

    Raises:
        InputError: The folder is missing, empty or not readable; pictures are beside the class folders; a class folder
            is empty; both layouts are mixed; a link leads out of the folder; or see `check_class_names` and
            `check_class_counts`.
    """
    files, folders = _walk(folder)
    top = sorted(path.parts[0] for path in folders if len(path.parts) == 1)
    parts = {name: PARTS[name.casefold()] for name in top if name.casefold() in PARTS}
    if parts and (others := [name for name in top if name not in parts]):
        raise InputError(
            f"{folder} has the part {next(iter(parts))} and beside it the folder {others[0]}. Move all class folders "
            "into train/ and test/, or rename the class."
        )
    depth = 2 if parts else 1  # levels from the root to the class folders
    for file in files:
        if len(file.parts) <= depth and file.suffix.lower() in picture_suffixes():
            raise InputError(
                f"{folder}: {file.as_posix()} is not in a class folder. Move it into the one of its class."
            )
    pictures = [file for file in files if len(file.parts) > depth]
    class_folders = {path for path in folders if len(path.parts) == depth}
    if not class_folders:
        raise InputError(
            f"{folder} has no pictures. Put the pictures of each class into a folder named after the class."
        )
    if empty := class_folders - {Path(*file.parts[:depth]) for file in pictures}:
        raise InputError(f"{folder}: the class folder {min(empty).as_posix()} is empty. Add pictures, or remove it.")
    check_class_names((path.name for path in class_folders), str(folder))
    return _finish_entries(
        [
            Entry(parts.get(file.parts[0]), nfc(file.parts[depth - 1]), folder / file, nfc(file.as_posix()))
            for file in pictures
        ],
        str(folder),
    )


def _walk(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the visible files and folders below a folder, relative to it."""
    if not folder.is_dir():
        raise InputError(
            f"{folder} {'is a file' if folder.exists() else 'does not exist'}. Name the folder of pictures."
        )
    root, files, folders = folder.resolve(), [], []
    for name, folder_names, file_names in os.walk(folder, onerror=_refuse_unreadable):
        folder_names[:] = filter(is_visible, folder_names)
        for path in (Path(name, folder_name) for folder_name in folder_names):
            if path.is_symlink():
                raise InputError(f"{path} is a link to a folder. Replace it by the folder itself.")
            folders.append(path.relative_to(folder))
        for path in (Path(name, file_name) for file_name in filter(is_visible, file_names)):
            if problem := _file_problem(path, root):
                raise InputError(f"{path} {problem}. Replace it by the file itself, or remove it.")
            files.append(path.relative_to(folder))
    if not files and not folders:
        raise InputError(f"{folder} is empty. Put the pictures of each class into a folder named after the class.")
    return sorted(files), folders


def is_visible(name: str) -> bool:
    """Return whether the name is not that of a hidden file or folder, or of a file of Windows or macOS."""
    return not name.startswith(".") and name.casefold() not in SYSTEM_FILES


def _refuse_unreadable(error: OSError) -> None:
    raise InputError(f"{error.filename} cannot be read ({error.strerror}). Change its permissions.") from None


def _file_problem(path: Path, root: Path) -> str:
    """Return why a path does not lead to a file within a resolved folder, or an empty text."""
    if path.is_symlink() and not path.exists():
        return "is a link to a missing file"
    if not path.is_file():
        return "is not a file" if path.exists() else "is missing"
    if not path.resolve().is_relative_to(root):
        return f"leads out of the folder {root.name}"
    try:
        path.name.encode()
    except UnicodeEncodeError:
        return "has a name that is not UTF-8"
    return ""


def picture_suffixes() -> set[str]:
    """Return the suffixes, with a dot, in small letters, of files that `decode_picture` may read."""
    return {suffix for suffix, format_ in Image.registered_extensions().items() if format_ in FORMATS}


def list_csv(file: Path) -> list[Entry]:
    """List the pictures of a CSV file, sorted by name.

    It has the columns path (relative to the folder of the CSV file) and label. An optional column part or split has the
    values train, test or validation, which mean the same as the folders in `list_pictures`. Other columns are ignored.

    Raises:
        InputError: The CSV file is missing, or not UTF-8; a column, a value or a picture is missing; a path occurs
            twice, or leads out of the folder; a part is unknown; or see `check_class_names` and `check_class_counts`.
            The message names the line.
    """
    labels: list[str] = []
    entries: dict[str, Entry] = {}
    root = file.parent.resolve()
    for line, row in _csv_rows(file):
        name = Path(os.path.normpath(row["path"])).as_posix()
        if problem := _file_problem(file.parent / name, root):
            raise InputError(f"{line}: {name} {problem}. A path is relative to the folder of the CSV file.")
        if name in entries:
            raise InputError(f"{line}: {name} is listed twice. Remove one of the lines.")
        part = row.get("part", row.get("split"))
        if part is not None and part.casefold() not in PARTS:
            raise InputError(f"{line}: the part {part!r} is not one of train, test and validation. Correct it.")
        labels.append(row["label"])
        entries[name] = Entry(part and PARTS[part.casefold()], nfc(row["label"]), file.parent / name, nfc(name))
    check_class_names(labels, str(file))
    return _finish_entries(list(entries.values()), str(file))


def _csv_rows(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the place of each row for messages, and its values by column."""
    if not file.is_file():
        raise InputError(f"{file} {'is a folder' if file.is_dir() else 'does not exist'}. Name a CSV file.")
    try:
        reader = csv.DictReader(io.StringIO(file.read_text(encoding="utf-8-sig")), strict=True)
        if missing := {"path", "label"} - set(reader.fieldnames or ()):
            found = ", ".join(reader.fieldnames or ()) or "none"
            raise InputError(
                f"{file}, line 1: no column {max(missing)} (found: {found}). Name the columns path and label."
            )
        columns = [name for name in ("path", "label", "part", "split") if name in (reader.fieldnames or ())]
        for row in reader:
            values = {name: (row[name] or "").strip() for name in columns}
            if empty := [name for name, value in values.items() if not value]:
                raise InputError(
                    f"{file}, line {reader.line_num}: {empty[0]} is empty. Add the value, or remove the line."
                )
            yield f"{file}, line {reader.line_num}", values
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 ({error.reason}, byte {error.start}). Save it as UTF-8.") from None
    except csv.Error as error:
        raise InputError(
            f"{file}, line {reader.reader.line_num}: {error}. Save it as a comma-separated file."
        ) from None


def _finish_entries(entries: list[Entry], origin: str) -> list[Entry]:
    """Resolve the validation part, check parts and classes, and sort."""
    parts = {entry.part for entry in entries}
    if "validation" in parts:
        target = "train" if "test" in parts else "test"
        entries = [entry._replace(part=target) if entry.part == "validation" else entry for entry in entries]
        print(f"Note: {origin}: the validation pictures belong to the {target} part.", file=sys.stderr)
    counts: dict[str | None, Counter[str]] = {}
    for entry in entries:
        counts.setdefault(entry.part, Counter())[entry.class_name] += 1
    for part, other in (("train", "test"), ("test", "train")):
        if set(counts) == {part}:
            raise InputError(
                f"{origin} has no {other} part. Add it, or name no parts: the project then splits the pictures."
            )
    check_class_counts(counts, origin)
    return sorted(entries, key=lambda entry: (entry.name, entry.path))
