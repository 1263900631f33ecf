"""Adding a user's own images as a data set: a look at them, and the files of the configuration."""

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from tabulate import tabulate
from tqdm import tqdm

from image_classifier import paths
from image_classifier.config.compose import load_params
from image_classifier.config.edit import add_to_params, check_new_name
from image_classifier.config.schema import Data, DataSource, Row, validate
from image_classifier.errors import InputError
from image_classifier.fetch.classes import check_class_counts
from image_classifier.fetch.picture_lists import Entry
from image_classifier.fetch.pictures import decode_picture
from image_classifier.fetch.sources import LISTS, READERS
from image_classifier.files import atomic_write

LARGEST_SIDE = 64  # pixels, unless the user asks for more: time and memory grow with the square
SMALLEST_SIDE = 16  # pixels, so that the layers of conf/model/ have something left to see
SMALL = 5000  # images, up to which a data set is small
TEST_FRACTION = 0.2
LISTED = 20  # failures, and classes
ODD_NAME = re.compile(r"\?\?\?|.*\$\{.*|[\d_.]+e[+-]?\d+", re.IGNORECASE)  # OmegaConf takes it for something else


@dataclass(frozen=True)
class Look:
    """Result of a look at images.

    Attributes:
        form: Form of the source, see `OwnSource`.
        classes: Names of the classes.
        counts: Number of readable images of each class, by part: None, or "train" and "test".
        sizes: Number of images of each height and width in pixels.
        is_gray: Whether no image has a colour.
        failures: A line about each picture that cannot be read.
    """

    form: str
    classes: list[str]
    counts: dict[str | None, Counter[str]]
    sizes: Counter[tuple[int, int]]
    is_gray: bool
    failures: list[str]


def add_data(name: str, source: Path, *, side: int | None, skip_unreadable: bool) -> None:
    """Look at images, and write conf/data/NAME.yaml, the data set and a first run.

    Args:
        name: Name of the data set and of the run.
        source: Folder of pictures or of IDX files, CSV file, or .npz file.
        side: Height and width in pixels that the images receive; None chooses it from the pictures.
        skip_unreadable: Whether pictures that cannot be read are left out.

    Raises:
        InputError: The name is invalid or taken, or the images cannot be used.
    """
    params = load_params()
    check_new_name(name)
    file = paths.CONF / "data" / f"{name}.yaml"
    if name in params.datasets or name in params.runs or file.exists():
        raise InputError(f"NAME={name} is a data set, a run or a file of conf/data/ already. Choose another name.")
    source = source.expanduser().resolve()
    place = source.relative_to(paths.ROOT) if source.is_relative_to(paths.ROOT) else source
    entry = validate(DataSource, {"path": str(place)}, origin="--from: ")
    look = look_at(source)
    print(describe(source, look))
    if look.failures and not skip_unreadable:
        total = len(look.failures) + look.sizes.total()
        problem = f"{len(look.failures):,} of {total:,} pictures cannot be read"
        raise InputError(f"{problem}. Repair or remove them, or add --skip-unreadable.")
    if odd := [one for one in look.classes if ODD_NAME.fullmatch(one)]:
        raise InputError(f"{source}: Hydra cannot read the name of the class {odd[0]}. Rename the class.")
    check_class_counts(look.counts, str(source))  # again, without the pictures that are left out
    data = choose_data(name, look, side, skip_unreadable=skip_unreadable)
    row = choose_row(data, (look.counts.get("train") or look.counts[None]).total())
    header = f"# python -m pipelines.train data={name} model={row.model} batch_size={row.batch_size}\n#   {place}\n"
    notes = "\n# Numbers of images that are used; null stands for all. Smaller numbers make a quick trial.\n"
    values = data.model_dump()
    sizes = {key: values.pop(key) for key in ("train_examples", "test_examples")}
    with atomic_write(file) as path:
        text = (
            header
            + yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=120)
            + notes
            + yaml.safe_dump(sizes, sort_keys=False)
        )
        path.write_text(text, encoding="utf-8")
    add_to_params(datasets={name: entry}, runs={name: row})
    print(f"\nWrote {file.relative_to(paths.ROOT)}, and the data set and the run {name} into params.yaml.")
    print("Train, evaluate and record it: dvc repro")
    print(f"Without the other data sets: dvc repro track@{name} compare@{name}")


def look_at(source: Path) -> Look:
    """Look at every image of a source.

    Raises:
        InputError: The form of the source is unknown, or its reader refuses it.
    """
    form = find_form(source)
    return _look_at_arrays(form, source) if form in READERS else _look_at_pictures(form, source)


def _look_at_arrays(form: str, source: Path) -> Look:
    arrays, classes = READERS[form](source)
    counts: dict[str | None, Counter[str]] = {}
    sizes, is_gray = Counter[tuple[int, int]](), True
    for key in (key for key in arrays if key.endswith("labels")):
        images, numbers = arrays[key.replace("labels", "images")], np.bincount(arrays[key], minlength=len(classes))
        part = key.removesuffix("labels").removesuffix("_") or None
        counts[part] = Counter(dict(zip(classes, numbers.tolist(), strict=True)))
        sizes[images.shape[1], images.shape[2]] += len(images)
        is_gray = is_gray and images.shape[3:] != (3,)
    return Look(form, classes, counts, sizes, is_gray, [])


def _look_at_pictures(form: str, source: Path) -> Look:
    entries = LISTS[form](source)
    classes = sorted({entry.class_name for entry in entries})
    parts = sorted({entry.part for entry in entries}, key=str, reverse=True)  # train, test
    counts: dict[str | None, Counter[str]] = {part: Counter(dict.fromkeys(classes, 0)) for part in parts}
    sizes, is_gray, failures = Counter[tuple[int, int]](), True, []
    with ThreadPoolExecutor() as pool, tqdm(total=len(entries), unit=" pictures", disable=None) as progress:
        for entry, result in zip(entries, pool.map(_look_at_picture, entries), strict=True):
            progress.update()
            if isinstance(result, str):
                failures.append(f"{entry.name}: {result}")
                continue
            size, gray = result
            counts[entry.part][entry.class_name] += 1
            sizes[size] += 1
            is_gray = is_gray and gray
    return Look(form, classes, counts, sizes, is_gray, failures)


def find_form(source: Path) -> str:
    """Return the form of a source.

    Raises:
        InputError: There is no such file or folder, or its form is unknown.
    """
    if not source.exists():
        raise InputError(f"--from {source}: there is no such file or folder. Correct the path.")
    if source.is_dir():
        return (
            "idx" if any("idx3-ubyte" in file.name.replace(".", "-") for file in source.iterdir()) else "image_folder"
        )
    if source.suffix.lower() not in (".csv", ".npz"):
        raise InputError(f"--from {source}: should be a folder, a .csv file or an .npz file.")
    return source.suffix.lower().removeprefix(".")


def _look_at_picture(entry: Entry) -> tuple[tuple[int, int], bool] | str:
    """Return height and width of a picture and whether it is grey, or the reason why it cannot be read."""
    try:
        pixels = decode_picture(entry.path, "rgb")
    except InputError as error:
        return str(error)
    height, width, _ = pixels.shape
    return (height, width), bool((pixels[..., :1] == pixels).all())


def describe(source: Path, look: Look) -> str:
    """Return a table of the classes, the sizes of the pictures, and the problems, as text."""
    parts = {part or "pictures": of_part for part, of_part in look.counts.items()}
    rows = [[name, *(of_part[name] for of_part in parts.values())] for name in look.classes[:LISTED]]
    lines = [f"{source} ({look.form})", "", tabulate(rows, ["class", *parts], intfmt=",")]
    if len(look.classes) > LISTED:
        lines.append(f"and {len(look.classes) - LISTED:,} more classes")
    total = {part: sum(of_part.values()) for part, of_part in parts.items()}
    heights, widths = ([size[axis] for size in look.sizes] for axis in (0, 1))
    ends = [f"{end(heights)} x {end(widths)}" for end in (min, max)] if look.sizes else ["none"]
    extent = " to ".join(dict.fromkeys(ends))
    color = "grey" if look.is_gray else "colour"
    counted = " + ".join(f"{number:,} {part}" for part, number in total.items())
    lines += ["", f"{len(look.classes)} classes; {counted}; {color}; height x width in pixels: {extent}"]
    lines += [f"  {failure}" for failure in look.failures[:LISTED]]
    if len(look.failures) > LISTED:
        lines.append(f"  and {len(look.failures) - LISTED:,} more that cannot be read")
    return "\n".join(lines)


def choose_data(name: str, look: Look, side: int | None, *, skip_unreadable: bool) -> Data:
    """Choose the description of a data set.

    Pictures of one size up to `LARGEST_SIDE` keep it. Others become squares of their median side, which is limited to
    the range from `SMALLEST_SIDE` to `LARGEST_SIDE`.

    Args:
        name: Name of the data set.
        look: Result of `look_at`.
        side: Height and width in pixels; None chooses them.
        skip_unreadable: See `OwnSource`.

    Raises:
        InputError: `side` is given for arrays, whose size is fixed.
    """
    size = _choose_size(look.sizes)
    if look.form in READERS:
        (size,) = (list(one) for one in look.sizes)
        if side and size != [side, side]:
            raise InputError(
                f"--size {side}: the images are arrays of {size[0]} x {size[1]} pixels. Leave the option out."
            )
    elif side:
        size = [side, side]
    values: dict[str, Any] = {
        "name": name,
        "source": {"form": look.form, "skip_unreadable": skip_unreadable},
        "classes": look.classes,
        "image_size": size,
        "color": "gray" if look.is_gray else "rgb",
        "fit": "pad",
        "test_fraction": TEST_FRACTION if None in look.counts else None,
        "train_examples": None,
        "test_examples": None,
    }
    return validate(Data, values, origin=f"conf/data/{name}.yaml: ")


def _choose_size(sizes: Counter[tuple[int, int]]) -> list[int]:
    if len(sizes) == 1 and max(only := next(iter(sizes))) <= LARGEST_SIDE and min(only) >= SMALLEST_SIDE:
        return list(only)
    sides = [max(size) for size in sizes.elements()]
    side = int(min(max(np.median(sides), SMALLEST_SIDE), LARGEST_SIDE))
    return [side, side]


def choose_row(data: Data, images: int) -> Row:
    """Choose a first run for a data set with this number of images, most or all of which are training images."""
    batch_size, epochs = (min(32, max(1, images // 4)), 30) if images <= SMALL else (64, 10)
    return Row(
        data=data.name, model="cnn_rgb", optimizer="adam", batch_size=batch_size, epochs=epochs, training="default"
    )
