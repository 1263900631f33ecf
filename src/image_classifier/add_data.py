"""Adding a user's own images as a data set: their inspection, and the files of the configuration."""

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
from image_classifier.config.schema import Data, DatasetEntry, Row, validate
from image_classifier.errors import InputError
from image_classifier.fetch.classes import check_class_counts
from image_classifier.fetch.picture_lists import Entry
from image_classifier.fetch.pictures import decode_picture
from image_classifier.fetch.sources import ARRAY_READERS, PICTURE_LISTERS
from image_classifier.files import write_text

MAX_SIDE = 64  # pixels, unless the user asks for more: time and memory grow with the square
MIN_SIDE = 16  # pixels, the smallest that the pooling layers of conf/model/ can use
MAX_SMALL_IMAGES = 5000  # up to this number, the first run has smaller batches and more epochs
TEST_FRACTION = 0.2
MAX_LISTED = 20  # failures, and classes
# OmegaConf reads such a text as a missing value, an interpolation or a number.
UNREADABLE_BY_HYDRA = re.compile(r"\?\?\?|.*\$\{.*|[\d_.]+e[+-]?\d+", re.IGNORECASE)


@dataclass(frozen=True)
class Inspection:
    """Properties of the images of a source.

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
    """Inspect images, and write conf/data/NAME.yaml, the data set and a first run.

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
    entry = validate(DatasetEntry, {"path": str(place)}, origin="--from: ")
    inspection = inspect_source(source)
    print(format_inspection(source, inspection))
    if inspection.failures and not skip_unreadable:
        total = len(inspection.failures) + inspection.sizes.total()
        problem = f"{len(inspection.failures):,} of {total:,} pictures cannot be read"
        raise InputError(f"{problem}. Repair or remove them, or add --skip-unreadable.")
    unreadable = [class_name for class_name in inspection.classes if UNREADABLE_BY_HYDRA.fullmatch(class_name)]
    if unreadable:
        raise InputError(f"{source}: Hydra cannot read the name of the class {unreadable[0]}. Rename the class.")
    check_class_counts(inspection.counts, str(source))  # again, without the pictures that are left out
    data = suggest_data(name, inspection, side, skip_unreadable=skip_unreadable)
    row = suggest_row(data, (inspection.counts.get("train") or inspection.counts[None]).total())
    header = f"# python -m pipelines.train data={name} model={row.model} batch_size={row.batch_size}\n#   {place}\n"
    notes = "\n# Numbers of images that are used; null stands for all. Smaller numbers make a quick trial.\n"
    values = data.model_dump()
    sizes = {key: values.pop(key) for key in ("train_examples", "test_examples")}
    description = yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)
    write_text(file, f"{header}{description}{notes}{yaml.safe_dump(sizes, sort_keys=False)}")
    add_to_params(datasets={name: entry}, runs={name: row})
    print(f"\nWrote {file.relative_to(paths.ROOT)}, and the data set and the run {name} into params.yaml.")
    print("Train, evaluate and record it: dvc repro")
    print(f"Without the other data sets: dvc repro track@{name} compare@{name}")


def inspect_source(source: Path) -> Inspection:
    """Inspect every image of a source.

    Raises:
        InputError: The form of the source is unknown, or its reader refuses it.
    """
    form = find_form(source)
    return _inspect_arrays(form, source) if form in ARRAY_READERS else _inspect_pictures(form, source)


def _inspect_arrays(form: str, source: Path) -> Inspection:
    arrays, classes = ARRAY_READERS[form](source)
    counts: dict[str | None, Counter[str]] = {}
    sizes = Counter[tuple[int, int]]()
    is_gray = True
    for key in (key for key in arrays if key.endswith("labels")):
        images = arrays[key.replace("labels", "images")]
        numbers = np.bincount(arrays[key], minlength=len(classes))
        part = key.removesuffix("labels").removesuffix("_") or None
        counts[part] = Counter(dict(zip(classes, numbers.tolist(), strict=True)))
        sizes[images.shape[1], images.shape[2]] += len(images)
        is_gray = is_gray and images.shape[3:] != (3,)
    return Inspection(form, classes, counts, sizes, is_gray, [])


def _inspect_pictures(form: str, source: Path) -> Inspection:
    entries = PICTURE_LISTERS[form](source)
    classes = sorted({entry.class_name for entry in entries})
    parts = sorted({entry.part for entry in entries}, key=str, reverse=True)  # train, test
    counts: dict[str | None, Counter[str]] = {part: Counter(dict.fromkeys(classes, 0)) for part in parts}
    sizes = Counter[tuple[int, int]]()
    is_gray = True
    failures = []
    with ThreadPoolExecutor() as pool, tqdm(total=len(entries), unit=" pictures", disable=None) as progress:
        for entry, result in zip(entries, pool.map(_inspect_picture, entries), strict=True):
            progress.update()
            if isinstance(result, str):
                failures.append(f"{entry.name}: {result}")
                continue
            size, gray = result
            counts[entry.part][entry.class_name] += 1
            sizes[size] += 1
            is_gray = is_gray and gray
    return Inspection(form, classes, counts, sizes, is_gray, failures)


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


def _inspect_picture(entry: Entry) -> tuple[tuple[int, int], bool] | str:
    """Return height and width of a picture and whether it is grey, or the reason why it cannot be read."""
    try:
        pixels = decode_picture(entry.path, "rgb")
    except InputError as error:
        return str(error)
    height, width, _ = pixels.shape
    return (height, width), bool((pixels[..., :1] == pixels).all())


def format_inspection(source: Path, inspection: Inspection) -> str:
    """Return a table of the classes, the sizes of the pictures, and the problems, as text."""
    parts = {part or "pictures": counts for part, counts in inspection.counts.items()}
    rows = [[name, *(counts[name] for counts in parts.values())] for name in inspection.classes[:MAX_LISTED]]
    lines = [f"{source} ({inspection.form})", "", tabulate(rows, ["class", *parts], intfmt=",")]
    if len(inspection.classes) > MAX_LISTED:
        lines.append(f"and {len(inspection.classes) - MAX_LISTED:,} more classes")
    total = {part: counts.total() for part, counts in parts.items()}
    extent = "none"
    if inspection.sizes:
        heights = [height for height, _ in inspection.sizes]
        widths = [width for _, width in inspection.sizes]
        smallest = f"{min(heights)} x {min(widths)}"
        largest = f"{max(heights)} x {max(widths)}"
        extent = smallest if smallest == largest else f"{smallest} to {largest}"
    color = "grey" if inspection.is_gray else "colour"
    counted = " + ".join(f"{number:,} {part}" for part, number in total.items())
    lines += ["", f"{len(inspection.classes)} classes; {counted}; {color}; height x width in pixels: {extent}"]
    lines += [f"  {failure}" for failure in inspection.failures[:MAX_LISTED]]
    if len(inspection.failures) > MAX_LISTED:
        lines.append(f"  and {len(inspection.failures) - MAX_LISTED:,} more that cannot be read")
    return "\n".join(lines)


def suggest_data(name: str, inspection: Inspection, side: int | None, *, skip_unreadable: bool) -> Data:
    """Choose the description of a data set.

    Pictures of one size up to `MAX_SIDE` keep it. Others become squares of their median side, which is limited to
    the range from `MIN_SIDE` to `MAX_SIDE`.

    Args:
        name: Name of the data set.
        inspection: Result of `inspect_source`.
        side: Height and width in pixels; None chooses them.
        skip_unreadable: See `OwnSource`.

    Raises:
        InputError: `side` is given for arrays, whose size is fixed.
    """
    if inspection.form in ARRAY_READERS:
        (size,) = map(list, inspection.sizes)
        if side and size != [side, side]:
            raise InputError(
                f"--size {side}: the images are arrays of {size[0]} x {size[1]} pixels. Leave the option out."
            )
    else:
        size = [side, side] if side else _choose_size(inspection.sizes)
    values: dict[str, Any] = {
        "name": name,
        "source": {"form": inspection.form, "skip_unreadable": skip_unreadable},
        "classes": inspection.classes,
        "image_size": size,
        "color": "gray" if inspection.is_gray else "rgb",
        "fit": "pad",
        "test_fraction": TEST_FRACTION if None in inspection.counts else None,
        "train_examples": None,
        "test_examples": None,
    }
    return validate(Data, values, origin=f"conf/data/{name}.yaml: ")


def _choose_size(sizes: Counter[tuple[int, int]]) -> list[int]:
    if len(sizes) == 1:
        (size,) = sizes
        if all(MIN_SIDE <= side <= MAX_SIDE for side in size):
            return list(size)
    longer_sides = [max(size) for size in sizes.elements()]
    side = int(np.clip(np.median(longer_sides), MIN_SIDE, MAX_SIDE))
    return [side, side]


def suggest_row(data: Data, images: int) -> Row:
    """Choose a first run for a data set with this number of images, most or all of which are training images."""
    batch_size, epochs = (min(32, max(1, images // 4)), 30) if images <= MAX_SMALL_IMAGES else (64, 10)
    return Row(
        data=data.name, model="cnn_rgb", optimizer="adam", batch_size=batch_size, epochs=epochs, training="default"
    )
