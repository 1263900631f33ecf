"""Measure how often a run is not sure of pictures that are not digits, and write benchmarks/not_sure.json.

python -m benchmarks.not_sure calibrated

The run has to be trained with validation=held_out and evaluated. The pictures are animals of the package
`animal-mnist` (see benchmarks/data_sets.py), uniform images, and images of random pixels. Takes two minutes.
"""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import yaml
from PIL import Image

from benchmarks.data_sets import read_animals
from benchmarks.digits import encode
from benchmarks.measure import machine_facts, say
from image_classifier.config.compose import load_params
from image_classifier.config.lookup import find_run_files
from image_classifier.track.reader import find_model

EVERY, PICTURES = 5, 2000  # share of the animals: one in five of 10,000; number of random images
RESULTS = Path(__file__).with_name("not_sure.json")


def main() -> None:
    """Measure the run that the command line names."""
    run, params = sys.argv[1], load_params()
    model, task, calibration = find_model(run, params)
    with TemporaryDirectory() as folder:
        animals = [Image.fromarray(image) for _, image in read_animals(Path(folder))[::EVERY]]
    shape = task.image_shape
    pictures = {
        "silhouettes of animals": np.stack([task.convert(encode(animal, "png")) for animal in animals]),
        "uniform images": np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None, None], (256, *shape)),
        "images of random pixels": np.random.default_rng(0).integers(0, 256, (PICTURES, *shape), np.uint8),
    }
    results = {}
    for name, images in pictures.items():
        probabilities = model.predict(images.astype(np.float32) / 255, batch_size=500, verbose=0)
        sure = calibration.is_sure(calibration.apply(probabilities))
        if sure is None:
            sys.exit(f"Error: {run} has no threshold. Train it with validation=held_out and evaluate it.")
        results[name] = {"pictures": len(images), "not_sure": int((~sure).sum())}
        say(f"{name}: {results[name]}")
    files = find_run_files(run, params.runs)
    config = yaml.safe_load(files.configuration.read_bytes())
    settings = {key: config[key] for key in ("batch_size", "epochs")} | {"optimizer": config["optimizer"]["_target_"]}
    measured = {
        "pictures": results,
        "calibration": json.loads(files.calibration.read_text(encoding="utf-8")),
        "accuracy": json.loads(files.metrics.read_text(encoding="utf-8"))["test_accuracy"],
        "run": settings,
        **machine_facts(),
    }
    RESULTS.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
