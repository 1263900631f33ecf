"""The names of picture files follow the images through the split."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from image_classifier import paths
from image_classifier.config.schema import Data
from image_classifier.fetch.picture_arrays import read_pictures
from image_classifier.fetch.pictures import PictureTask
from image_classifier.fetch.sources import PICTURE_LISTERS
from image_classifier.prepare.examples import prepare_examples
from image_classifier.prepare.picture_names import read_picture_names

WHOLE = [f"{name}/{number}.png" for name in ("cat", "dog") for number in range(12)]
SPLIT = [f"{part}/{name}" for part in ("train", "test") for name in WHOLE]


def make_data(folder: Path, names: list[str], test_fraction: float | None, monkeypatch: pytest.MonkeyPatch) -> Data:
    """Fetch and prepare pictures, each of which has the brightness of its position in `names`."""
    monkeypatch.setattr(paths, "ROOT", folder)
    for brightness, name in enumerate(names):
        (folder / "pets" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), brightness).save(folder / "pets" / name)
    source = {"form": "image_folder", "skip_unreadable": False}
    values = {"name": "pets", "source": source, "classes": ["cat", "dog"], "image_size": [4, 4], "color": "gray"}
    rest = {"fit": "pad", "test_fraction": test_fraction, "train_examples": 9, "test_examples": None}
    data = Data.model_validate(values | rest)
    for path in (paths.raw_data("pets"), paths.prepared_data("pets")):
        path.mkdir(parents=True)
    entries = PICTURE_LISTERS["image_folder"](folder / "pets")
    task = PictureTask(data.name, tuple(data.classes), data.image_shape, data.fit)
    read_pictures(entries, task, False, paths.raw_data("pets"))
    prepare_examples(data, paths.raw_data("pets"), paths.prepared_data("pets"))
    return data


@pytest.mark.parametrize(("names", "test_fraction"), [(WHOLE, 0.4), (SPLIT, None)])
def test_each_image_has_the_name_of_its_file(
    tmp_path: Path, names: list[str], test_fraction: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = read_picture_names(make_data(tmp_path, names, test_fraction, monkeypatch))
    for part in ("train", "test"):
        images = np.load(paths.prepared_data("pets") / f"{part}_images.npy")
        assert found[part] == [names[brightness] for brightness in images[:, 0, 0, 0]]


def test_images_that_are_not_those_of_the_pictures_have_no_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_data(tmp_path, WHOLE, 0.4, monkeypatch)
    file = paths.prepared_data("pets") / "test_labels.npy"
    np.save(file, 1 - np.load(file))
    assert read_picture_names(data) == {"train": [], "test": []}


def test_a_data_set_without_picture_files_has_no_names(
    tmp_path: Path, data_config: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    assert read_picture_names(data_config) == {"train": [], "test": []}
