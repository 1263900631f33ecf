"""Measure the peak memory of trainings on few and on many images, and write benchmarks/memory.json.

python -m benchmarks.memory

The images are synthetic, 64 x 64 x 3. The network is small, because the memory of the data is measured, and an epoch
reads every image. Takes a few minutes and 3 GB in the temporary folder. Linux only.
"""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.measure import machine_facts, say
from image_classifier import environment

COUNTS, TEST_IMAGES = (20_000, 200_000), 2_000
SHAPE, CLASSES = (64, 64, 3), tuple("abcdefghij")
LAYERS: list[dict[str, Any]] = [
    {"_target_": "keras.layers.MaxPooling2D", "pool_size": [8, 8]},
    {"_target_": "keras.layers.Flatten"},
    {"_target_": "keras.layers.Dense", "units": len(CLASSES), "activation": "softmax"},
]
RESULTS = Path(__file__).with_name("memory.json")


def main() -> None:
    """Measure each number of images in a process of its own."""
    if len(sys.argv) > 1:
        print(json.dumps(measure(Path(sys.argv[1]))))
        return
    peaks = {}
    for count in COUNTS:
        with TemporaryDirectory() as name:
            write_images(Path(name), count)
            command = [sys.executable, "-m", "benchmarks.memory", name]
            printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        peaks[str(count)] = json.loads(printed.splitlines()[-1])
        say(f"{count:,} images: {peaks[str(count)]}")
    machine = machine_facts()
    RESULTS.write_text(json.dumps({"image_shape": SHAPE, "megabytes": peaks, **machine}, indent=2) + "\n")


def write_images(folder: Path, count: int) -> None:
    """Write a prepared data set of random images."""
    random = np.random.default_rng(0)
    for part, images in (("train", count), ("test", TEST_IMAGES)):
        array = np.lib.format.open_memmap(folder / f"{part}_images.npy", "w+", np.uint8, (images, *SHAPE))
        for first in range(0, images, 1000):
            array[first : first + 1000] = random.integers(0, 256, (1000, *SHAPE), np.uint8)
        array.flush()
        np.save(folder / f"{part}_labels.npy", random.integers(0, len(CLASSES), images).astype(np.uint8))
    (folder / "dataset.json").write_text(json.dumps({"classes": CLASSES}))


def measure(folder: Path) -> dict[str, float]:
    """Train for one epoch, and return the peak of the memory in MB, sampled every 20 ms.

    `own` is the memory of the process. `mapped` are pages of files, which the system drops when memory is needed.
    """
    with environment.tensorflow_import():
        from image_classifier.train.loop import fit
        from image_classifier.train.model import build_model
        from image_classifier.train.optimizer import build_optimizer
    from image_classifier.config.compose import compose, resolve
    from image_classifier.config.schema import Train
    from image_classifier.dataset import load_for_training

    config = resolve(Train, compose("train", ["batch_size=64", "epochs=1"]))
    training, validation = load_for_training(folder, 0)
    model = build_model("small", LAYERS, SHAPE, len(CLASSES))
    peaks, done = {"own": 0.0, "mapped": 0.0}, threading.Event()

    def sample() -> None:
        while not done.is_set():
            status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
            for name, key in (("own", "RssAnon"), ("mapped", "RssFile")):
                peaks[name] = max(peaks[name], int(status[key].split()[0]) / 1000)
            time.sleep(0.02)

    sampler = threading.Thread(target=sample)
    sampler.start()
    fit(model, build_optimizer(config.optimizer), training, validation, config, verbose=0)
    done.set()
    sampler.join()
    return {name: round(peak, 1) for name, peak in peaks.items()}


if __name__ == "__main__":
    main()
