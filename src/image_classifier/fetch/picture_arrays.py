"""Pictures of a list as arrays in files."""

import csv
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from tqdm import tqdm

from image_classifier.errors import InputError
from image_classifier.fetch.picture_lists import Entry
from image_classifier.fetch.pictures import PictureTask

BATCH_SIZE = 256  # pictures in memory
MAX_LISTED_FAILURES = 20


def read_pictures(entries: Sequence[Entry], task: PictureTask, skip_unreadable: bool, folder: Path) -> int:
    """Decode pictures into arrays in files, and return their number. Memory does not grow with it.

    The folder receives images.npy, uint8, (n, height, width, channels), and labels.npy, (n,), positions in
    `task.classes`, uint8 or, for more than 256 classes, uint16. If the data has a split of its own, the files are
    train_images.npy, train_labels.npy, test_images.npy and test_labels.npy. files.csv (columns picture, class, part)
    has a line per image in the order of the arrays, training part first.

    Args:
        entries: Pictures in the order of the arrays.
        task: Names of all classes of the entries, and conversion of the pictures.
        skip_unreadable: Whether to leave out pictures that cannot be read. Each is named on standard error.
        folder: Folder that receives the files.

    Raises:
        FileNotFoundError: A picture was removed in the meantime.
        InputError: Pictures cannot be read, and `skip_unreadable` is false; standard error names up to 20 of them. Or a
            class has no picture left.
    """
    read = partial(_read_picture, task=task)
    positions = {name: position for position, name in enumerate(task.classes)}
    kept: dict[str | None, list[Entry]] = {}
    failures: list[str] = []
    for part in sorted({entry.part for entry in entries}, key=str, reverse=True):  # train, test
        prefix = f"{part}_" if part else ""
        chosen = [entry for entry in entries if entry.part == part]
        kept[part], failed = _write_images(folder / f"{prefix}images.npy", chosen, task.image_shape, read)
        failures += failed
        labels = [positions[entry.class_name] for entry in kept[part]]
        np.save(folder / f"{prefix}labels.npy", np.array(labels, np.min_scalar_type(len(task.classes) - 1)))
    _report_failures(failures, len(entries), task.name, skip_unreadable)
    _check_classes_left(kept, task.classes)
    with (folder / "files.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["picture", "class", "part"])
        writer.writerows([entry.name, entry.class_name, part] for part in kept for entry in kept[part])
    return sum(map(len, kept.values()))


def _read_picture(entry: Entry, task: PictureTask) -> np.ndarray | str:
    """Return the converted picture, or the reason why it cannot be read."""
    try:
        return task.convert(entry.path)
    except InputError as error:
        return str(error)


def _write_images(
    file: Path, entries: Sequence[Entry], shape: tuple[int, ...], read: Callable[[Entry], np.ndarray | str]
) -> tuple[list[Entry], list[str]]:
    """Write pictures as one array of an .npy file; return the entries of its images, and the failures."""
    kept, failures = [], []
    with (
        file.open("wb") as stream,
        ThreadPoolExecutor() as pool,
        tqdm(total=len(entries), unit=" pictures", disable=None) as progress,
    ):
        _write_header(stream, (0, *shape))
        for start in range(0, len(entries), BATCH_SIZE):
            batch = entries[start : start + BATCH_SIZE]
            for entry, result in zip(batch, pool.map(read, batch), strict=True):
                if isinstance(result, str):
                    failures.append(f"{entry.name}: {result}")
                else:
                    stream.write(result.tobytes())
                    kept.append(entry)
            progress.update(len(batch))
        stream.seek(0)
        _write_header(stream, (len(kept), *shape))
    return kept, failures


def _write_header(stream: BinaryIO, shape: tuple[int, ...]) -> None:
    """Write the header of an .npy file of uint8. NumPy pads it to a length that the first axis does not change."""
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)


def _report_failures(failures: Sequence[str], total: int, data: str, skip_unreadable: bool) -> None:
    """Name the pictures that cannot be read on standard error; then refuse them, or warn that they are left out."""
    if not failures:
        return
    summary = f"{len(failures):,} of {total:,} pictures cannot be read"
    listed = failures if skip_unreadable else failures[:MAX_LISTED_FAILURES]
    print(*(f"  {failure}" for failure in listed), sep="\n", file=sys.stderr)
    if len(failures) > len(listed):
        print(f"  and {len(failures) - len(listed):,} more", file=sys.stderr)
    if skip_unreadable:
        print(f"Warning: {summary} and are left out.", file=sys.stderr)
        return
    raise InputError(
        f"{summary}. Repair or remove them, or leave them out: skip_unreadable: true below source: in "
        f"conf/data/{data}.yaml."
    )


def _check_classes_left(kept: Mapping[str | None, Sequence[Entry]], classes: Sequence[str]) -> None:
    """Refuse classes all of whose pictures were left out in a part."""
    for part, entries in kept.items():
        if missing := set(classes) - {entry.class_name for entry in entries}:
            where = f" in the {part} part" if part else ""
            raise InputError(f"The class {min(missing)} has no readable picture{where}. Add one, or remove the class.")
