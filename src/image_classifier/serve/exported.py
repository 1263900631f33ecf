"""Answers of an exported file, in a process of its own that imports TensorFlow only for a SavedModel.

The export starts it as `python -m image_classifier.serve.exported FILE IMAGES RESULT`. The images are an .npy file,
uint8, (n, height, width, channels), 0…255. The result is an .npz file with `probabilities`, (n, classes), `seconds`,
(n,), the time of each image on one thread, and `runtime`, the name and version of the library that ran the file.
"""

import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

WARM_UP = 20  # images before the time is measured


def load(file: Path) -> tuple[Callable[[np.ndarray], Any], str]:
    """Return a function from pixels, uint8, to probabilities, and the name of the library that runs the file."""
    if file.suffix == ".onnx":
        from onnxruntime import InferenceSession, SessionOptions

        options = SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = InferenceSession(file, options, providers=["CPUExecutionProvider"])
        return lambda pixels: session.run(None, {"pixels": pixels})[0], "onnxruntime"
    if file.suffix == ".tflite":
        from ai_edge_litert.interpreter import Interpreter

        run = Interpreter(str(file), num_threads=1).get_signature_runner()
        return lambda pixels: next(iter(run(pixels=pixels).values())), "ai-edge-litert"
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = tf.saved_model.load(str(file))
    return lambda pixels: model.serve(pixels).numpy(), "tensorflow"


def main() -> None:
    """Send each image through the file."""
    file, images, result = map(Path, sys.argv[1:])
    predict, library = load(file)
    pixels = np.load(images, mmap_mode="r")
    for image in pixels[:WARM_UP]:
        predict(image[np.newaxis])
    probabilities, seconds = [], []
    for image in tqdm(pixels, unit=" images", leave=False, disable=None, file=sys.stdout):
        batch = np.array(image[np.newaxis])  # reads it from the disk before the time starts
        began = time.perf_counter()
        answer = predict(batch)
        seconds.append(time.perf_counter() - began)
        probabilities.append(answer[0])
    np.savez(result, probabilities=probabilities, seconds=seconds, runtime=f"{library} {version(library)}")


if __name__ == "__main__":
    main()
