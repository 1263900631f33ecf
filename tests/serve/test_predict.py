"""Predictions for picture files."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from image_classifier.evaluate.calibration import Calibration
from image_classifier.fetch.pictures import FORMATS, PictureTask
from image_classifier.serve.predict import COLUMNS, convert_pictures, draw_pictures, find_pictures, predict_pictures

TASK = PictureTask("mnist", tuple("0123456789"), (28, 28, 1), "digit")
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
    for name in ("a/two.JPG", ".hidden/three.png", ".four.png", "notes.txt", "scan.pdf", "model.h5"):
        (folder / name).touch()
    assert find_pictures([str(folder)]) == [folder / "a/two.JPG", picture]


def test_a_picture_that_is_named_twice_is_classified_once(picture: Path) -> None:
    assert find_pictures([str(picture), str(picture.parent)]) == [picture]


def test_files_that_cannot_be_read_are_named_and_the_others_converted(picture: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("text")
    names = [tmp_path / "empty", tmp_path / "none.png", tmp_path / "text.png", picture]
    images, problems = convert_pictures(names, TASK)
    assert list(images) == [picture]
    assert problems == [
        f"{tmp_path}/empty: the folder has no pictures.",
        f"{tmp_path}/none.png: no such file.",
        f"{tmp_path}/text.png: not a picture in one of the formats {', '.join(FORMATS)}: convert it to PNG.",
    ]


def test_the_three_most_probable_classes_are_listed(picture: Path) -> None:
    images, _ = convert_pictures([picture], TASK)
    table = predict_pictures(SimpleNamespace(predict=model), images, TASK.classes)
    assert table.columns.tolist() == COLUMNS
    assert table.to_numpy().tolist() == [[str(picture), "2", 0.6, "1", 0.1, "7", 0.06]]


@pytest.mark.parametrize(("threshold", "answer", "title"), [(0.2, "2", "2"), (0.3, "not sure", "2?")])
def test_a_model_with_a_threshold_says_whether_it_is_sure(
    picture: Path, threshold: float, answer: str, title: str
) -> None:
    images, _ = convert_pictures([picture], TASK)
    calibration = Calibration(2.0, threshold)
    table = predict_pictures(SimpleNamespace(predict=model), images, TASK.classes, calibration)
    probability = 0.6**0.5 / np.sqrt(PROBABILITIES).sum()
    assert table.columns.tolist() == ["picture", "answer", *COLUMNS[1:]]
    assert table.iloc[0, :4].tolist() == [str(picture), answer, "2", pytest.approx(probability)]
    assert draw_pictures(images, table).axes[0].get_title() == f"one.png\n{title} ({probability:.1%})"


def test_the_drawing_shows_each_picture_with_its_prediction(picture: Path) -> None:
    images, _ = convert_pictures([picture], TASK)
    figure = draw_pictures(images, predict_pictures(SimpleNamespace(predict=model), images, TASK.classes))
    assert [axes.get_title() for axes in figure.axes] == ["one.png\n2 (60.0%)"]


def test_with_two_classes_the_third_one_is_empty(picture: Path) -> None:
    task = PictureTask("pets", ("cat", "dog"), (8, 8, 3), "pad")
    images, _ = convert_pictures([picture], task)
    predicted = SimpleNamespace(predict=lambda images, verbose: np.tile([0.25, 0.75], (len(images), 1)))  # noqa: ARG005
    (row,) = predict_pictures(predicted, images, task.classes).to_dict("records")
    assert [row["class"], row["second_class"], row["second_probability"]] == ["dog", "cat", 0.25]
    assert np.isnan(row["third_probability"])


def test_a_picture_becomes_an_image_of_the_data_set(picture: Path) -> None:
    images, _ = convert_pictures([picture], PictureTask("pets", ("cat", "dog"), (8, 12, 3), "stretch"))
    assert images[picture].shape == (8, 12, 3)
