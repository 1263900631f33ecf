"""Predictions for picture files."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from image_classifier.serve.predict import COLUMNS, convert_pictures, draw_pictures, find_pictures, predict_pictures

PROBABILITIES = np.array([0.05, 0.1, 0.6, 0.02, 0.03, 0.04, 0.05, 0.06, 0.03, 0.02])


def model(images: np.ndarray, verbose: int) -> np.ndarray:
    """Return the same probabilities for every image, which must be scaled."""
    assert verbose == 0
    assert images.dtype == np.float32
    assert images.max() == 1
    return np.tile(PROBABILITIES, (len(images), 1))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "digits/one.png"
    path.parent.mkdir()
    Image.fromarray(np.pad(np.full((20, 4), 255, np.uint8), 10)).save(path)
    return path


def test_a_folder_stands_for_its_visible_pictures(picture: Path) -> None:
    folder = picture.parent
    (folder / "a").mkdir()
    (folder / ".hidden").mkdir()
    for name in ("a/two.JPG", ".hidden/three.png", ".four.png", "notes.txt"):
        (folder / name).touch()
    assert find_pictures([str(folder)]) == [folder / "a/two.JPG", picture]


def test_a_picture_that_is_named_twice_is_classified_once(picture: Path) -> None:
    assert find_pictures([str(picture), str(picture.parent)]) == [picture]


def test_files_that_cannot_be_read_are_named_and_the_others_converted(picture: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("text")
    names = [tmp_path / "empty", tmp_path / "none.png", tmp_path / "text.png", picture]
    images, problems = convert_pictures(names)
    assert list(images) == [picture]
    assert problems == [
        f"{tmp_path}/empty: the folder has no pictures.",
        f"{tmp_path}/none.png: no such file.",
        f"{tmp_path}/text.png: not a picture in a format that Pillow knows.",
    ]


def test_the_three_most_probable_classes_are_listed(picture: Path) -> None:
    images, _ = convert_pictures([picture])
    table = predict_pictures(SimpleNamespace(predict=model), images)
    assert table.columns.tolist() == COLUMNS
    assert table.to_numpy().tolist() == [[str(picture), 2, 0.6, 1, 0.1, 7, 0.06]]


def test_the_drawing_shows_each_picture_with_its_prediction(picture: Path) -> None:
    images, _ = convert_pictures([picture])
    figure = draw_pictures(images, predict_pictures(SimpleNamespace(predict=model), images))
    assert [axes.get_title() for axes in figure.axes] == ["one.png\n2 (60.0%)"]
