"""Names of the picture files from which the images of a prepared data set come."""

import csv
from typing import TYPE_CHECKING

from image_classifier import paths
from image_classifier.dataset import read_array, read_classes
from image_classifier.prepare.split import split_raw

if TYPE_CHECKING:
    from image_classifier.config.schema import Data


def read_picture_names(data: "Data") -> dict[str, list[str]]:
    """Return the file of each image of both parts in the order of data/prepared/, relative to the source of the data.

    Args:
        data: Description of the data set.

    Returns:
        Names of "train" and "test"; both lists are empty if the data set has no picture files, or if data/raw/ has
        other images.
    """
    raw, prepared = paths.raw_data(data.name), paths.prepared_data(data.name)
    none: dict[str, list[str]] = {"train": [], "test": []}
    if not (raw / "files.csv").exists():
        return none
    with (raw / "files.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names, classes = {}, read_classes(prepared)
    for part, (_, _, order) in split_raw(data, raw).items():
        part_rows = [row for row in rows if row["part"] in ("", part)]
        labels = read_array(prepared / f"{part}_labels.npy")
        used = [part_rows[position] for position in order[: len(labels)]]
        if [row["class"] for row in used] != [classes[label] for label in labels]:
            return none
        names[part] = [row["picture"] for row in used]
    return names
