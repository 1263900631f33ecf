"""Decoding of picture files, and fitting of pictures to the shape of a data set."""

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from image_classifier.errors import InputError
from image_classifier.fetch.digits import to_mnist

if TYPE_CHECKING:
    from image_classifier.config.schema import Color, Fit

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")  # each only decodes pixels
MODES = {"gray": "L", "rgb": "RGB"}


def decode_picture(file: Path | BinaryIO, color: "Color") -> np.ndarray:
    """Decode a picture upright, as its EXIF orientation says: uint8, (height, width, channels), 0…255.

    Pixels with 16 bits are scaled to 8 bits. Transparent pixels become white or black, whichever differs more from the
    opaque ones. Colour profiles are ignored.

    Args:
        file: File or binary stream in one of the `FORMATS`.
        color: "gray" for one channel (luma of ITU-R BT.601), or "rgb" for three.

    Raises:
        FileNotFoundError: The file does not exist.
        InputError: The file is empty, truncated, damaged, animated, not a picture, or has more pixels than Pillow
            considers safe. The message gives the reason without the path.
    """
    if isinstance(file, Path):
        try:
            stream = file.open("rb")
        except PermissionError:
            raise InputError("no permission to read it") from None
        with stream:
            return decode_picture(stream, color)
    if not file.seek(0, os.SEEK_END):
        raise InputError("the file is empty")
    try:
        return _decode(file, color)
    except UnidentifiedImageError:
        raise InputError(f"not a picture in one of the formats {', '.join(FORMATS)}: convert it to PNG") from None
    except InputError:
        raise
    except Exception as error:  # Pillow's decoders raise many classes
        raise InputError(f"cannot be decoded: {' '.join(str(error).split())}") from None


def _decode(stream: BinaryIO, color: "Color") -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # an error below
        opened = Image.open(stream, formats=FORMATS)
    with opened:
        limit = Image.MAX_IMAGE_PIXELS
        if limit and opened.width * opened.height > limit:
            raise InputError(f"{opened.width} x {opened.height} pixels are more than the limit of {limit:,}: reduce it")
        # A photograph in the format MPO is a JPEG file with a preview or a second view behind the picture.
        if (frames := getattr(opened, "n_frames", 1)) > 1 and opened.format != "MPO":
            raise InputError(f"animated, or a file of several pictures ({frames}): save one of them")
        picture = _to_8_bits(ImageOps.exif_transpose(opened))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        bands = picture.convert("LA")
        grey = np.asarray(bands.getchannel("L"), np.float64)
        opacity = np.asarray(bands.getchannel("A"), np.float64)
        background = "black" if (grey * opacity).sum() > 127.5 * opacity.sum() else "white"
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, background), picture)
    pixels = np.array(picture.convert(MODES[color]))
    return pixels.reshape(*pixels.shape[:2], -1)


def _to_8_bits(picture: Image.Image) -> Image.Image:
    if not picture.mode.startswith(("I", "F")):
        return picture
    levels = np.asarray(picture)
    if picture.mode == "F" or levels.min() < 0 or levels.max() > 65535:
        raise InputError("pixels with 32 bits have no known range: save it with 8 or 16 bits")
    return Image.fromarray(np.round(levels / 257).astype(np.uint8))


@dataclass(frozen=True)
class PictureTask:
    """Class names and preprocessing of a data set: how a picture becomes the input of a model.

    Attributes:
        name: Name of the data set.
        classes: Names of the classes, in the order of a model's probabilities.
        image_shape: Height and width in pixels, and number of channels, of the images that a model receives.
        fit: See `fit_picture`.
    """

    name: str
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    fit: "Fit"

    @classmethod
    def from_fields(cls, values: dict[str, Any]) -> Self:
        """Return the task with these fields, which may be lists as in JSON."""
        height, width, channels = values["image_shape"]
        return cls(values["name"], tuple(values["classes"]), (height, width, channels), values["fit"])

    def convert(self, file: Path | BinaryIO) -> np.ndarray:
        """Return the image that a model receives of a picture: uint8, `image_shape`, 0…255.

        Raises:
            FileNotFoundError, InputError: See `decode_picture` and `fit_picture`.
        """
        height, width, channels = self.image_shape
        return fit_picture(decode_picture(file, "rgb" if channels == 3 else "gray"), (height, width), self.fit)


def fit_picture(picture: np.ndarray, size: tuple[int, int], fit: "Fit") -> np.ndarray:
    """Bring a picture to a size: uint8, (height, width, channels), 0…255.

    A picture of this size is returned unchanged. Others are resized with Pillow's bicubic filter, which averages all
    source pixels when it reduces a picture, so that no aliasing occurs.

    Args:
        picture: uint8, (any height, any width, 1 or 3 channels).
        size: Height and width in pixels.
        fit: "pad" keeps the proportions and fills the rest with the median colour of the picture's border; "crop" keeps
            the proportions and cuts off what exceeds the centre; "stretch" changes the proportions; "digit" is
            `to_mnist`, whose size is fixed.

    Raises:
        InputError: No digit is found.
    """
    if fit == "digit":
        return to_mnist(picture)
    if picture.shape[:2] == size:
        return picture
    image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
    height, width = size
    if fit == "pad":
        fitted = ImageOps.pad(image, (width, height), color=border_color(picture))
    elif fit == "crop":
        fitted = ImageOps.fit(image, (width, height))
    else:
        fitted = image.resize((width, height))
    return np.array(fitted).reshape(height, width, -1)


def border_color(picture: np.ndarray) -> tuple[int, ...]:
    """Return the median of each channel, rounded down, at the border of a picture, (height, width, channels)."""
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    return tuple(int(level) for level in np.median(border, axis=0))
