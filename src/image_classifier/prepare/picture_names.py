"""Names of the picture files from which the images of a prepared data set come."""

import csv
from typing import TYPE_CHECKING

from image_classifier import paths
from image_classifier.dataset import read_array, read_classes
from image_classifier.prepare.split import shuffle_by_content, split_by_content

if TYPE_CHECKING:
    from image_classifier.config.schema import Data


def read_picture_names(data: "Data") -> dict[str, list[str]]:
    """Return the file of each image of both parts in the order of data/prepared/, relative to the source of the data.

    The order is derived from data/raw/, as `prepare_examples` derives it.

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
    if data.test_fraction is not None:
        images, labels = read_array(raw / "images.npy"), read_array(raw / "labels.npy")
        split = split_by_content(images, labels, data.test_fraction, data.classes)
        orders = dict(zip(none, split, strict=True))
    else:
        arrays = {part: [read_array(raw / f"{part}_{name}.npy") for name in ("images", "labels")] for part in none}
        orders = {part: shuffle_by_content(images, labels) for part, (images, labels) in arrays.items()}
    names, classes = {}, read_classes(prepared)
    for part, order in orders.items():
        of_part = [row for row in rows if row["part"] in ("", part)]
        labels = read_array(prepared / f"{part}_labels.npy")
        used = [of_part[position] for position in order[: len(labels)]]
        if [row["class"] for row in used] != [classes[label] for label in labels]:
            return none
        names[part] = [row["picture"] for row in used]
    return names
