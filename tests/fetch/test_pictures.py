"""Picture files of many kinds, made here, and the pixels that they should give."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from image_classifier.config.schema import Color, Fit
from image_classifier.errors import InputError
from image_classifier.fetch.pictures import decode_picture, fit_picture

ORIENTATION = 0x0112  # EXIF tag
GREY = np.array([[0, 50, 100], [150, 200, 255]], np.uint8)  # 2 x 3, no symmetry
RGB = np.stack([GREY, GREY[::-1], 255 - GREY], axis=-1)


def encode(picture: Image.Image, format_: str = "PNG", **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    picture.save(file, format_, **options)
    return file


def of_16_bits(levels: np.ndarray) -> Image.Image:
    return Image.fromarray(levels.astype(np.uint16))


def frames(count: int) -> dict[str, Any]:
    return {"save_all": True, "append_images": [Image.new("RGB", (8, 8), (90 * n, 0, 0)) for n in range(1, count)]}


@pytest.mark.parametrize("format_", ["AVIF", "BMP", "GIF", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP"])
def test_a_grey_picture_keeps_its_pixels_in_every_lossless_format(format_: str) -> None:
    options = {"quality": 100} if format_ == "AVIF" else {"lossless": True} if format_ == "WEBP" else {}
    decoded = decode_picture(encode(Image.fromarray(GREY), format_, **options), "gray")
    np.testing.assert_allclose(decoded[..., 0].astype(int), GREY, atol=1 if format_ == "AVIF" else 0)


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, GREY),
        (2, GREY[:, ::-1]),
        (3, GREY[::-1, ::-1]),
        (4, GREY[::-1]),
        (5, GREY.T),
        (6, np.rot90(GREY, -1)),
        (7, np.rot90(GREY, 2).T),
        (8, np.rot90(GREY)),
    ],
)
def test_exif_orientation_is_applied(orientation: int, upright: np.ndarray) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    decoded = decode_picture(encode(Image.fromarray(GREY), exif=exif), "gray")
    np.testing.assert_array_equal(decoded[..., 0], upright)


@pytest.mark.parametrize("color", ["gray", "rgb"])
def test_grey_levels_are_the_same_in_every_mode(color: Color) -> None:
    grey = Image.fromarray(GREY)
    for picture in (grey, grey.convert("RGB"), grey.convert("P"), grey.convert("LA"), grey.convert("RGBA")):
        decoded = decode_picture(encode(picture), color)
        np.testing.assert_array_equal(decoded, np.repeat(GREY[..., np.newaxis], 1 if color == "gray" else 3, axis=2))


def test_color_pixels_are_kept() -> None:
    np.testing.assert_array_equal(decode_picture(encode(Image.fromarray(RGB)), "rgb"), RGB)


def test_a_palette_gives_its_colors() -> None:
    palette = Image.fromarray(RGB).quantize(6)
    np.testing.assert_array_equal(decode_picture(encode(palette), "rgb"), np.asarray(palette.convert("RGB")))


def test_a_picture_of_one_bit_is_black_and_white() -> None:
    decoded = decode_picture(encode(Image.fromarray(GREY > 120)), "gray")
    np.testing.assert_array_equal(decoded[..., 0], np.where(GREY > 120, 255, 0))


@pytest.mark.parametrize("format_", ["PNG", "TIFF", "PPM"])
def test_16_bits_are_scaled_to_8(format_: str) -> None:
    decoded = decode_picture(encode(of_16_bits(GREY.astype(int) * 257), format_), "gray")
    np.testing.assert_array_equal(decoded[..., 0], GREY)


def test_cmyk_is_converted() -> None:
    cyan_and_red = Image.fromarray(np.array([[[255, 0, 0, 0], [0, 255, 255, 0]]], np.uint8), "CMYK")
    np.testing.assert_array_equal(decode_picture(encode(cyan_and_red, "TIFF"), "rgb"), [[[0, 255, 255], [255, 0, 0]]])


def test_transparency_is_composited_on_white() -> None:
    black = np.zeros((1, 3, 4), np.uint8)
    black[0, :, 3] = 0, 51, 255
    np.testing.assert_array_equal(decode_picture(encode(Image.fromarray(black)), "gray")[0, :, 0], [255, 204, 0])


@pytest.mark.parametrize("mode", ["P", "L"])
def test_a_transparent_color_without_an_alpha_channel_is_white(mode: str) -> None:
    picture = Image.new(mode, (2, 1), 0)
    picture.putpixel((1, 0), 1)
    if mode == "P":
        picture.putpalette([0, 0, 0, 9, 9, 9])
    decoded = decode_picture(encode(picture, transparency=0), "gray")
    np.testing.assert_array_equal(decoded[0, :, 0], [255, 9 if mode == "P" else 1])


def test_a_photograph_with_a_preview_is_one_picture() -> None:
    assert decode_picture(encode(Image.new("RGB", (8, 8)), "MPO", **frames(2)), "rgb").max() < 5


def test_a_path_is_read_as_a_stream_is(tmp_path: Path) -> None:
    (tmp_path / "without_suffix").write_bytes(encode(Image.fromarray(RGB)).getvalue())
    np.testing.assert_array_equal(decode_picture(tmp_path / "without_suffix", "rgb"), RGB)


PNG = encode(Image.fromarray(np.arange(4096, dtype=np.uint32).reshape(64, 64).astype(np.uint8))).getvalue()
JPEG = encode(Image.fromarray(RGB), "JPEG").getvalue()
FEW = Image.new("RGB", (8, 8))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"Dear reader,\n", "not a picture in one of the formats AVIF, .*: convert it to PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture in one of the formats"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture in one of the formats"),
        (PNG[:20], "not a picture|cannot be decoded: .*"),
        (PNG[: len(PNG) // 2], "cannot be decoded: image file is truncated.*"),
        (JPEG[:-60], "cannot be decoded: .*[Tt]runcated.*"),
        (PNG[:60] + bytes(20) + PNG[80:], "cannot be decoded: .*"),
        (
            encode(FEW, "GIF", **frames(2)).getvalue(),
            r"animated, or a file of several pictures \(2\): save one of them",
        ),
        (encode(FEW, "PNG", **frames(2)).getvalue(), r"animated, or a file of several pictures \(2\): .*"),
        (encode(FEW, "WEBP", **frames(3)).getvalue(), r"animated, or a file of several pictures \(3\): .*"),
        (encode(FEW, "TIFF", **frames(2)).getvalue(), r"animated, or a file of several pictures \(2\): .*"),
        (b"P6 10000 10000 255\n", "10000 x 10000 pixels are more than the limit of 89,478,485: reduce it"),
        (b"P6 20000 20000 255\n", r"cannot be decoded: Image size \(400000000 pixels\) exceeds limit of 178956970.*"),
        (
            encode(Image.fromarray(GREY.astype(np.float32)), "TIFF").getvalue(),
            "pixels with 32 bits have no known range.*",
        ),
        (
            encode(Image.fromarray(-GREY.astype(np.int32)), "TIFF").getvalue(),
            "pixels with 32 bits have no known range.*",
        ),
    ],
)
def test_a_file_that_is_no_single_picture_is_refused_with_the_reason(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "picture.png").write_bytes(content)
    with pytest.raises(InputError, match=f"^{reason}") as raised:
        decode_picture(tmp_path / "picture.png", "rgb")
    assert str(tmp_path) not in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.png"):
        decode_picture(tmp_path / "missing.png", "gray")


def test_a_forbidden_file_is_refused_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "open", forbid)
    with pytest.raises(InputError, match=r"^no permission to read it$"):
        decode_picture(tmp_path / "picture.png", "gray")


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_a_picture_that_has_the_size_is_unchanged(fit: Fit) -> None:
    np.testing.assert_array_equal(fit_picture(RGB, (2, 3), fit), RGB)


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("source", [(40, 30), (5, 90), (3, 2), (1, 1)])
def test_every_picture_receives_the_size(fit: Fit, channels: int, source: tuple[int, int]) -> None:
    fitted = fit_picture(np.full((*source, channels), 7, np.uint8), (20, 10), fit)
    assert fitted.shape == (20, 10, channels)
    assert fitted.dtype == np.uint8
    assert (fitted == 7).all()  # the border as well


def test_padding_has_the_color_of_the_border_and_centres_the_picture() -> None:
    picture = np.full((8, 4, 3), (10, 20, 30), np.uint8)
    picture[2:6, 1:3] = 255
    padded = fit_picture(picture, (8, 8), "pad")
    np.testing.assert_array_equal(padded[:, 2:6], picture)
    assert (padded[:, [0, 1, 6, 7]] == (10, 20, 30)).all()


def test_cropping_keeps_the_centre() -> None:
    picture = np.arange(32, dtype=np.uint8).reshape(4, 8, 1)
    np.testing.assert_array_equal(fit_picture(picture, (4, 4), "crop"), picture[:, 2:6])


def test_reduction_averages_pixels() -> None:
    board = (255 * (np.indices((64, 64)).sum(axis=0) % 2)).astype(np.uint8)[..., np.newaxis]
    np.testing.assert_allclose(fit_picture(board, (8, 8), "stretch").astype(int), 127, atol=2)
