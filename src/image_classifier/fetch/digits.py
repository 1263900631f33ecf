"""Pictures of handwritten digits in the form of MNIST.

MNIST's authors fitted each digit into a box of 20 x 20 pixels without changing its proportions, and put its centre of
mass into the centre of 28 x 28 pixels: http://yann.lecun.com/exdb/mnist/. The digits are bright on black.
"""

import numpy as np
from PIL import Image
from scipy import ndimage

from image_classifier.errors import InputError

IMAGE_SIDE = 28  # pixels
BOX_SIDE = 20
CENTRE = 14  # row and column of the centre of mass, where the first pixel is 0
MAX_SIDE = 400  # pixels; larger pictures are reduced before strokes are searched
UNIFORM_SHARE = 0.15  # from this share of pixels with exactly the background's colour, a picture is a drawing
MIN_CONTRAST = 16  # levels of 0…255 between strokes and background
NOISE_FACTOR = 4  # a pixel of a stroke differs from the background by this multiple of the noise
STROKE_SHARE = 0.3  # a pixel of a stroke has at least this share of the brightness that strokes have typically
SPECK_SHARE = 0.05  # a shape with less than this share of the largest shape's area is a speck
ENLARGEMENT = 8  # factor for digits that are smaller than the box


def to_mnist(picture: np.ndarray) -> np.ndarray:
    """Return the digit of a picture in the form of MNIST, uint8, (28, 28, 1). An image of MNIST is not changed.

    The digit may be dark or bright, and anywhere on a background whose brightness varies smoothly.

    Args:
        picture: Grey levels, uint8, (height, width, 1), 0…255.

    Raises:
        InputError: The picture is blank.
    """
    reduced = Image.fromarray(picture[..., 0])
    reduced.thumbnail((MAX_SIDE, MAX_SIDE))
    grey = np.asarray(reduced, np.float32)
    level = float(np.median(_border(grey)))
    if level > (grey.min() + grey.max()) / 2:
        grey, level = 255 - grey, 255 - level
    if _is_mnist(grey):
        return grey.astype(np.uint8)[..., np.newaxis]
    background: np.ndarray | float = float(grey.min())
    noise = 0.0
    if (grey == background).mean() < UNIFORM_SHARE:  # a photograph
        background, noise = _fit_background(grey, level)
    excess = grey - background
    excess[excess < NOISE_FACTOR * noise] = 0
    if excess.max() < MIN_CONTRAST:
        raise InputError("no digit found: the picture is blank or has too little contrast")
    stroke_level = np.median(excess[excess > excess.max() / 2]) if noise else excess.max()
    ink = np.minimum(excess / stroke_level, 1)
    if noise or max(ink.shape) > 2 * IMAGE_SIDE:
        ink = _without_specks(ink)
    return _center_in_frame(ink[_bounding_box(ink > 0)])


def _border(grey: np.ndarray) -> np.ndarray:
    """Return the pixels at the edge, 2.5% of the shorter side wide."""
    width = max(1, min(grey.shape) // 40)
    return np.concatenate([part.ravel() for part in (grey[:width], grey[-width:], grey[:, :width], grey[:, -width:])])


def _is_mnist(grey: np.ndarray) -> bool:
    """Return whether an image has the form of MNIST.

    It has 28 x 28 pixels, the digit's longer side has 19 or 20 pixels, and its centre of mass is within half a pixel of
    (14, 14).
    """
    if grey.shape != (IMAGE_SIDE, IMAGE_SIDE) or not grey.any():
        return False
    rows, columns = _bounding_box(grey > 0)
    longest = max(rows.stop - rows.start, columns.stop - columns.start)
    centred = all(abs(centre - CENTRE) <= 0.5 for centre in ndimage.center_of_mass(grey))
    return BOX_SIDE - 1 <= longest <= BOX_SIDE and centred


def _fit_background(grey: np.ndarray, level: float) -> tuple[np.ndarray, float]:
    """Fit a quadratic surface to the background; return it and the standard deviation of the noise.

    Pixels that are far from the surface belong to strokes and are left out of the next fit.
    """
    step = max(1, min(grey.shape) // 48)
    values = grey[::step, ::step].ravel()
    terms = _quadratic_terms(grey.shape, step)
    deviations = np.abs(values - level)
    used = deviations <= deviations.max() / 2
    for _ in range(5):
        coefficients = np.linalg.lstsq(terms[used], values[used])[0]
        deviations = np.abs(values - terms @ coefficients)
        noise = 1.4826 * float(np.median(deviations[used]))  # standard deviation of a normal distribution
        used = deviations <= max(3 * noise, 1)
    return (_quadratic_terms(grey.shape, 1) @ coefficients).reshape(grey.shape), noise


def _quadratic_terms(shape: tuple[int, ...], step: int) -> np.ndarray:
    rows, columns = np.indices(shape)
    row = rows[::step, ::step].ravel() / max(shape) - 0.5
    column = columns[::step, ::step].ravel() / max(shape) - 0.5
    return np.stack([np.ones_like(row), row, column, row * row, row * column, column * column], axis=1)


def _without_specks(ink: np.ndarray) -> np.ndarray:
    """Return the ink without shapes that are small compared with the largest one."""
    shapes, count = ndimage.label(ink > STROKE_SHARE, np.ones((3, 3)))
    areas = ndimage.sum_labels(shapes > 0, shapes, range(1, count + 1))
    kept = np.isin(shapes, 1 + np.flatnonzero(areas >= SPECK_SHARE * areas.max()))
    return np.where(ndimage.binary_dilation(kept, iterations=2) & (ink > 0.1), ink, 0)  # with the strokes' smooth edges


def _center_in_frame(digit: np.ndarray) -> np.ndarray:
    """Scale a digit to 20 pixels, and centre it by its mass: uint8, (28, 28, 1)."""
    if max(digit.shape) < BOX_SIDE - 1:
        digit = _enlarge(digit)
    scale = BOX_SIDE / max(digit.shape)
    height = max(1, round(digit.shape[0] * scale))
    width = max(1, round(digit.shape[1] * scale))
    fitted = _resize(digit, height, width)
    row, column = ndimage.center_of_mass(fitted)
    top = IMAGE_SIDE + CENTRE - round(row)
    left = IMAGE_SIDE + CENTRE - round(column)
    canvas = np.zeros((3 * IMAGE_SIDE, 3 * IMAGE_SIDE), np.float32)  # a margin for digits whose mass is on one side
    canvas[top : top + height, left : left + width] = fitted
    middle = slice(IMAGE_SIDE, 2 * IMAGE_SIDE)
    return np.round(255 * canvas[middle, middle]).astype(np.uint8)[..., np.newaxis]


def _enlarge(digit: np.ndarray) -> np.ndarray:
    """Enlarge a small digit. Contrast makes its blurred strokes as sharp and thin as in MNIST.

    With Lanczos' filter, the constants gave the best accuracy on every second digit, of 8 x 8 pixels, in scikit-learn's
    `load_digits`; benchmarks/digits.py measures the others, too.
    """
    padded = np.pad(digit, 1)
    height, width = padded.shape
    blurred = _resize(padded, ENLARGEMENT * height, ENLARGEMENT * width, Image.Resampling.LANCZOS)
    sharp = (1.2 * (blurred - 0.55) + 0.5).clip(0, 1)
    enlarged: np.ndarray = sharp[_bounding_box(sharp > 0.1)]
    return enlarged


def _resize(
    digit: np.ndarray, height: int, width: int, resampling: Image.Resampling = Image.Resampling.BICUBIC
) -> np.ndarray:
    """Resize ink, 0 to 1, and stretch its levels so that the highest is 1."""
    picture = Image.fromarray(digit.astype(np.float32)).resize((width, height), resampling)
    resized: np.ndarray = np.asarray(picture).clip(0, 1)
    return np.asarray(resized / resized.max())


def _bounding_box(pixels: np.ndarray) -> tuple[slice, slice]:
    """Return rows and columns of the smallest rectangle that contains all true pixels."""
    rows, columns = ndimage.find_objects(pixels.astype(int))[0]
    return rows, columns
