"""Measure how well a run recognizes digits that are not images of MNIST, and write benchmarks/digits.json.

python -m benchmarks.digits adadelta_128

The digits are the 1,797 of scikit-learn, which were written and scanned elsewhere, and changed copies of the first test
images of MNIST: inverted, moved, enlarged, and photographed in uneven light (simulated, JPEG). Takes two minutes.
"""

import json
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from benchmarks.measure import machine_facts, say
from image_classifier import paths
from image_classifier.config.compose import load_params
from image_classifier.config.lookup import find_run_files
from image_classifier.dataset import load_examples
from image_classifier.track.reader import find_model

COPIES = 1000  # test images that are changed
MARGIN = 8  # pixels around a moved digit
ONLY_RESIZED = "scikit-learn, only resized"
RESULTS = Path(__file__).with_name("digits.json")


def main() -> None:
    """Measure the run that the command line names."""
    run = sys.argv[1]
    model, task, _ = find_model(run, load_params())
    test = load_examples(paths.prepared_data(task.name), "test")[:COPIES]
    random = np.random.default_rng(0)
    digits = load_digits()
    scanned = [Image.fromarray((255 / 16 * image).round().astype(np.uint8)) for image in digits.images]
    originals = [Image.fromarray(image[..., 0]) for image in test.images]
    pictures = {
        "scikit-learn, the half that chose the constants": (scanned[::2], digits.target[::2]),
        "scikit-learn, the other half": (scanned[1::2], digits.target[1::2]),
        "test images": (originals, test.labels),
        "inverted": ([Image.eval(image, lambda level: 255 - level) for image in originals], test.labels),
        "moved": ([move(image, random) for image in originals], test.labels),
        "enlarged": ([image.resize((280, 280), Image.Resampling.BICUBIC) for image in originals], test.labels),
        "photographed": ([photograph(image, random) for image in originals], test.labels),
    }

    def accuracy(images: list[np.ndarray], labels: np.ndarray) -> float:
        probabilities = model.predict(np.stack(images).astype(np.float32) / 255, batch_size=500, verbose=0)
        return round(float((probabilities.argmax(axis=1) == labels).mean()), 4)

    resized = [np.asarray(image.resize((28, 28), Image.Resampling.BICUBIC))[..., np.newaxis] for image in scanned]
    measured: dict[str, Any] = {ONLY_RESIZED: {"digits": len(resized), "accuracy": accuracy(resized, digits.target)}}
    for name, (files, labels) in pictures.items():
        kind = "jpeg" if name == "photographed" else "png"
        converted = [task.convert(encode(picture, kind)) for picture in files]
        measured[name] = {"digits": len(files), "accuracy": accuracy(converted, labels)}
        say(f"{name}: {measured[name]}")
    config = yaml.safe_load(find_run_files(run, load_params().runs).configuration.read_bytes())
    settings = {key: config[key] for key in ("batch_size", "epochs")} | {"optimizer": config["optimizer"]["_target_"]}
    machine = machine_facts()
    results = {"pictures": measured, "run": settings, **machine}
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def encode(picture: Image.Image, kind: str) -> BytesIO:
    """Return a picture as a file."""
    file = BytesIO()
    picture.save(file, kind, **({"quality": 60} if kind == "jpeg" else {}))
    return file


def move(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Put an image at a random place on a larger black one."""
    side = image.width + 2 * MARGIN
    larger = Image.new("L", (side, side))
    down, right = random.integers(0, 2 * MARGIN + 1, 2).tolist()
    larger.paste(image, (right, down))
    return larger


def photograph(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Draw an image as dark ink on paper in uneven light, with noise, at a random place."""
    margins = random.integers(20, 120, (2, 2)).tolist()
    ink = np.pad(np.asarray(image.resize((200, 200), Image.Resampling.BICUBIC), np.float32), margins)
    row, column = (axis / side - 0.5 for axis, side in zip(np.indices(ink.shape), ink.shape, strict=True))
    slope, tilt, vignette = random.uniform(-50, 50), random.uniform(-50, 50), random.uniform(0, 40)
    light = 200 + slope * column + tilt * row - vignette * (row**2 + column**2)
    levels = light - random.uniform(90, 150) * ink / 255 + random.normal(0, 4, ink.shape)
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


if __name__ == "__main__":
    main()
