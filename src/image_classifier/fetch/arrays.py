"""Data sets that are arrays already: IDX files in the form of MNIST, and .npz files."""

import gzip
import re
import struct
import zlib
from pathlib import Path

import numpy as np

from image_classifier.dataset import ARRAY_NAMES, Arrays
from image_classifier.errors import InputError
from image_classifier.fetch.classes import check_class_counts, check_class_names

IDX_NAME = re.compile(r"(?:.+-)?(train|t10k|test)[-.](images|labels)[-.]idx[13][-.]ubyte(?:\.gz)?")
UINT8 = 0x08  # type code of IDX files
OTHER_NAMES = {  # common with Keras and scikit-learn
    "x_train": "train_images",
    "y_train": "train_labels",
    "x_test": "test_images",
    "y_test": "test_labels",
    "x": "images",
    "y": "labels",
}


def image_shape(images: np.ndarray) -> tuple[int, ...]:
    """Return height, width and number of channels of an array of images; without a channel axis, the number is 1."""
    return images.shape[1:] if images.ndim == 4 else (*images.shape[1:], 1)


def read_idx(folder: Path) -> tuple[Arrays, list[str]]:
    """Read the four IDX files of a data set in the form of MNIST, for example Fashion-MNIST or EMNIST.

    The files have their usual names, with or without .gz: [prefix-]train-images-idx3-ubyte, train-labels-idx1-ubyte,
    and t10k- or test- instead of train-; a dot can replace a hyphen. A file beside its .gz is preferred. Images are
    returned as stored; EMNIST stores them with rows and columns exchanged.

    Returns:
        The arrays of `ARRAY_NAMES`: images uint8 (n, height, width), 0…255; labels (n,), positions in the classes. And
        the names of the classes, which are the labels of the files in ascending order.

    Raises:
        InputError: A file is missing, occurs twice or is damaged; or see `read_npz`.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder} {'is a file' if folder.exists() else 'does not exist'}. Name the folder of IDX files."
        )
    files: dict[str, Path] = {}
    paths_by_name = {}
    for path in sorted(folder.iterdir(), reverse=True):  # "x.gz" before "x", which replaces it
        paths_by_name[path.name.removesuffix(".gz")] = path
    for name, path in paths_by_name.items():
        if match := IDX_NAME.fullmatch(name):
            array = f"{'train' if match[1] == 'train' else 'test'}_{match[2]}"
            if other := files.get(array):
                raise InputError(f"{folder} has {other.name} and {name}. Keep the files of one data set.")
            files[array] = path
    for array in ARRAY_NAMES:
        if array not in files:
            usual = f"{array.replace('test', 't10k').replace('_', '-')}-idx{3 if 'images' in array else 1}-ubyte"
            raise InputError(f"{folder} has no file {usual} or {usual}.gz. Add it.")
    return _check_arrays({array: _read_idx_file(files[array]) for array in ARRAY_NAMES}, str(folder))


def _read_idx_file(path: Path) -> np.ndarray:
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        zero, type_code, dimensions = struct.unpack_from(">HBB", content)
        if zero or type_code != UINT8:
            raise InputError(f"{path} is not an IDX file of uint8. Write it with the type code 0x08.")
        sizes = struct.unpack_from(f">{dimensions}I", content, 4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(sizes)
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise InputError(f"{path} is damaged ({error}). Copy or download it again.") from None


def read_npz(file: Path) -> tuple[Arrays, list[str]]:
    """Read the arrays of an .npz file.

    Their names are train_images, train_labels, test_images and test_labels, or x_train, y_train, x_test and y_test; or,
    without a split, images and labels, or x and y. Other arrays are ignored.

    Returns:
        The arrays by the names train_images, train_labels, test_images, test_labels, or images, labels. Images: uint8,
        (n, height, width) or (n, height, width, 1 or 3), 0…255. Labels: (n,), positions in the classes, uint8 or, for
        more than 256 classes, uint16. And the names of the classes: the labels of the file, as texts, in ascending
        order.

    Raises:
        InputError: The file is missing, damaged or holds Python objects; an array is missing, or has another type or
            shape; lengths differ; or see `check_class_names` and `check_class_counts`.
    """
    if not file.is_file():
        raise InputError(f"{file} {'is a folder' if file.is_dir() else 'does not exist'}. Name an .npz file.")
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            names = {OTHER_NAMES.get(name, name): name for name in stored.files}
            wanted = next((group for group in (ARRAY_NAMES, ("images", "labels")) if set(group) <= set(names)), None)
            if not wanted:
                raise InputError(
                    f"{file} has the arrays {', '.join(stored.files) or '(none)'}. Name them "
                    f"{', '.join(ARRAY_NAMES)}; or images, labels."
                )
            arrays = {name: stored[names[name]] for name in wanted}
    except InputError:
        raise
    except Exception as error:  # NumPy, zipfile and zlib raise many classes on damaged files
        reason = " ".join(str(error).split())
        raise InputError(
            f"{file} cannot be read ({reason}). Save it again with numpy.savez, labels as numbers or texts."
        ) from None
    return _check_arrays(arrays, str(file))


def _check_arrays(arrays: Arrays, origin: str) -> tuple[Arrays, list[str]]:
    """Check types, shapes and classes, and replace labels by positions."""
    images = {name: array for name, array in arrays.items() if name.endswith("images")}
    labels = {name: array for name, array in arrays.items() if name.endswith("labels")}
    for name, array in images.items():
        if array.dtype != np.uint8:
            raise InputError(f"{origin}: {name} has the type {array.dtype}. Convert the pixels to uint8 from 0 to 255.")
        if array.ndim not in (3, 4) or array.shape[3:] not in ((), (1,), (3,)) or 0 in array.shape:
            raise InputError(
                f"{origin}: {name} has the shape {array.shape}. It should be (n, height, width), with a last axis of 1 "
                "or 3 channels or without it."
            )
    if len(shapes := {array.shape[1:] for array in images.values()}) > 1:
        raise InputError(
            f"{origin}: the images have the shapes {' and '.join(map(str, sorted(shapes)))}. Use one shape."
        )
    for name, array in labels.items():
        count = len(arrays[name.replace("labels", "images")])
        if array.shape != (count,):
            raise InputError(
                f"{origin}: {name} has the shape {array.shape}. It should be ({count},): one label per image."
            )
        if array.dtype.kind not in "iuU":
            raise InputError(f"{origin}: {name} has the type {array.dtype}. Convert the labels to integers or texts.")
    return _with_positions(arrays, labels, origin)


def _with_positions(arrays: Arrays, labels: Arrays, origin: str) -> tuple[Arrays, list[str]]:
    """Replace labels by their positions in the classes, which are the labels in ascending order."""
    found = np.unique(np.concatenate(list(labels.values())))
    classes = [str(label) for label in found]
    check_class_names(classes, origin)
    positions, counts = {}, {}
    for name, array in labels.items():
        positions[name] = np.searchsorted(found, array).astype(np.min_scalar_type(len(classes) - 1))
        counts[name] = dict(zip(classes, np.bincount(positions[name], minlength=len(classes)).tolist(), strict=True))
    check_class_counts({name.removesuffix("_labels"): count for name, count in counts.items()}, origin)
    return {**arrays, **positions}, classes
