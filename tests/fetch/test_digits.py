"""Pictures of digits in the form of MNIST: images of MNIST and changed copies of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from image_classifier.dataset import Arrays
from image_classifier.errors import InputError
from image_classifier.fetch.digits import to_mnist
from image_classifier.fetch.pictures import decode_picture


@pytest.fixture(scope="module")
def digits(raw: Arrays) -> np.ndarray:
    """The first 200 test images, uint8, (200, 28, 28)."""
    return raw["test_images"][:200]


def see(picture: Image.Image, folder: Path, name: str = "picture.png", **options: Any) -> np.ndarray:
    """Write a picture and return the image that the model receives, without the channel axis."""
    picture.save(folder / name, **options)
    return to_mnist(decode_picture(folder / name, "gray"))[..., 0]


def enlarge(digit: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC))


def mean_difference(image: np.ndarray, digit: np.ndarray) -> float:
    """Return the mean absolute difference of the pixels relative to that of the digit from black."""
    return float(np.abs(image.astype(float) - digit).sum() / digit.sum())


def test_images_of_mnist_stay_as_they_are(raw: Arrays) -> None:
    for digit in raw["test_images"][::10]:
        np.testing.assert_array_equal(to_mnist(digit[..., np.newaxis])[..., 0], digit)


def test_a_picture_file_of_an_image_gives_the_image(digits: np.ndarray, tmp_path: Path) -> None:
    for digit in digits[:20]:
        np.testing.assert_array_equal(see(Image.fromarray(digit), tmp_path), digit)


def test_a_dark_digit_on_white_is_inverted(digits: np.ndarray) -> None:
    for digit in digits:
        np.testing.assert_array_equal(to_mnist(255 - digit[..., np.newaxis])[..., 0], digit)


@pytest.mark.parametrize(("down", "right"), [(0, 28), (21, 2), (13, 17)])
def test_the_place_of_a_digit_has_no_influence(digits: np.ndarray, down: int, right: int) -> None:
    for digit in digits[:50]:
        moved = np.zeros((56, 56), np.uint8)
        moved[down : down + 28, right : right + 28] = digit
        np.testing.assert_allclose(to_mnist(moved[..., np.newaxis])[..., 0], digit, atol=1)


def test_the_size_of_a_digit_has_little_influence(digits: np.ndarray) -> None:
    enlarged = [enlarge(digit, 280)[..., np.newaxis] for digit in digits[:30]]
    differences = [
        mean_difference(to_mnist(large)[..., 0], digit) for large, digit in zip(enlarged, digits, strict=False)
    ]
    assert np.median(differences) < 0.3


def test_a_photograph_with_uneven_light_and_noise_gives_nearly_the_digit(digits: np.ndarray, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    light = 210 - 60 * np.linspace(0, 1, 260) - 30 * np.linspace(0, 1, 300)[:, np.newaxis]
    differences = []
    for digit in digits[:30]:
        strokes = np.pad(enlarge(digit, 200).astype(float), ((40, 60), (35, 25)))
        photograph = (light - 0.45 * strokes + random.normal(0, 4, light.shape)).clip(0, 255).astype(np.uint8)
        differences.append(mean_difference(see(Image.fromarray(photograph), tmp_path, "photo.jpg", quality=60), digit))
    assert np.median(differences) < 0.3


def test_a_speck_does_not_move_the_digit(digits: np.ndarray) -> None:
    clean = np.pad(enlarge(digits[0], 200), 100)
    dirty = clean.copy()
    dirty[5:12, 380:390] = 255
    np.testing.assert_array_equal(to_mnist(dirty[..., np.newaxis]), to_mnist(clean[..., np.newaxis]))


def test_a_digit_of_8_pixels_becomes_as_bright_and_as_wide_as_those_of_mnist(digits: np.ndarray) -> None:
    for digit in digits[:20]:
        small = np.asarray(Image.fromarray(digit[4:24, 4:24]).resize((8, 8), Image.Resampling.BOX))
        image = to_mnist(small[..., np.newaxis])[..., 0]
        rows, columns = np.nonzero(image)
        assert max(np.ptp(rows), np.ptp(columns)) + 1 in (19, 20)
        assert image.max() == 255


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "LA", "1", "I;16", "CMYK"])
def test_the_mode_of_a_picture_has_no_influence(digits: np.ndarray, tmp_path: Path, mode: str) -> None:
    digit = np.where(digits[0] > 127, 255, 0).astype(np.uint8)
    picture = Image.fromarray(np.pad(digit, 20))
    if mode == "I;16":
        converted = Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)
    else:
        converted = picture.convert(mode)
    name = "picture.tif" if mode == "CMYK" else "picture.png"
    np.testing.assert_array_equal(see(converted, tmp_path, name), see(picture, tmp_path))


@pytest.mark.parametrize("ink", [0, 255])
def test_strokes_on_a_transparent_background_are_seen(digits: np.ndarray, tmp_path: Path, ink: int) -> None:
    alpha = Image.fromarray(np.pad(digits[0], 14))
    picture = Image.merge("LA", [Image.new("L", alpha.size, ink), alpha])
    np.testing.assert_array_equal(see(picture, tmp_path), digits[0])


def test_a_photograph_is_turned_as_its_camera_says(digits: np.ndarray, tmp_path: Path) -> None:
    picture = Image.fromarray(np.pad(digits[0], 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    np.testing.assert_array_equal(see(turned, tmp_path, exif=exif), see(picture, tmp_path))


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_blank_picture_is_refused(level: int) -> None:
    with pytest.raises(InputError, match=r"^no digit found: "):
        to_mnist(np.full((50, 60, 1), level, np.uint8))


def test_digits_that_were_written_elsewhere_are_recognized(raw: Arrays) -> None:
    """Nearest neighbours among images of MNIST recognize 47% of them if they are only resized, and 81% if converted."""
    known = raw["train_images"][:5000].reshape(5000, -1)
    model = KNeighborsClassifier(3).fit(known, raw["train_labels"][:5000])
    written = load_digits()
    pictures = (255 / 16 * written.images[::4]).round().astype(np.uint8)
    converted = np.stack([to_mnist(picture[..., np.newaxis]) for picture in pictures])
    assert model.score(converted.reshape(len(pictures), -1), written.target[::4]) > 0.75
