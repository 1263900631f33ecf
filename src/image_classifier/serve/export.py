"""Export of a model to a file that other programs run, with proof that the file answers as the model does."""

import json
import math
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from tabulate import tabulate

from image_classifier import environment, paths
from image_classifier.dataset import Arrays, load_examples, read_arrays
from image_classifier.errors import InputError
from image_classifier.evaluate.calibration import UNCALIBRATED, Calibration
from image_classifier.fetch.pictures import PictureTask
from image_classifier.files import atomic_folder, file_hashes, write_json

if TYPE_CHECKING:
    import keras

Format = Literal["onnx", "litert", "saved_model"]
Quantization = Literal["int8"]

FILES: dict[Format, str] = {"onnx": "model.onnx", "litert": "model.tflite", "saved_model": "saved_model"}
PROOF = "proof.json"
MODULES: dict[Format, tuple[str, ...]] = {"onnx": ("onnx", "onnxruntime", "tf2onnx"), "litert": ("ai_edge_litert",)}
METADATA = "picture_task"  # name of the metadata in a file: the fields of the `PictureTask` as JSON
CALIBRATION_IMAGES = 500  # at most; int8 gets its ranges from them
BATCH_SIZE = 128  # images per forward step of the model's own predictions


def check_request(form: Format, quantize: Quantization | None) -> None:
    """Check that a format can be written, before large libraries are imported.

    Raises:
        InputError: The format cannot be quantized, or a package is missing.
    """
    if quantize and form == "saved_model":
        raise InputError(f"--quantize {quantize}: a SavedModel cannot be quantized. Choose --format onnx or litert.")
    if missing := [module for module in MODULES.get(form, ()) if find_spec(module) is None]:
        install = "pip install --editable '.[export]'"
        raise InputError(f"--format {form} needs {', '.join(missing)}. Install the project with them: {install}")


def export_model(
    run: str,
    model: "keras.Model",
    task: PictureTask,
    calibration: Calibration,
    folder: Path,
    form: Format,
    quantize: Quantization | None,
    *,
    max_difference: float,
    max_lost_accuracy: float,
) -> None:
    """Write a model and the proof of its answers into a folder, or nothing if they differ too much from the model's.

    Args:
        run: Name of the run in the proof.
        model: Model from images to class probabilities.
        task: Task that the model solves; its name is the name of the data set.
        calibration: Temperature and threshold, which become metadata of the file. Its output remains the model's.
        folder: Folder to write, which may have an earlier export to the same format.
        form: Format of the file.
        quantize: Type of the weights and activations; None leaves float32.
        max_difference: Accepted absolute difference of any probability from the model's in float32, 0 to 1. It is not
            checked if the file is quantized.
        max_lost_accuracy: Accepted difference between the accuracies of the model and of the file, 0 to 1.

    Raises:
        FileNotFoundError: A file of the data set is missing.
        InputError: The folder has other files, the data set has other images than the run, the file cannot be run, or
            its answers differ too much.
    """
    name, data = FILES[form], paths.prepared_data(task.name)
    if folder.exists() and (others := {path.name for path in folder.iterdir()} - {name, PROOF}):
        raise InputError(f"{folder} has other files, such as {min(others)}. Choose a new folder: --output DIR")
    training, test = load_examples(data, "train"), load_examples(data, "test")
    if (test.images.shape[1:], test.classes) != (task.image_shape, task.classes):
        raise InputError(f"{data} has images of another size, or other classes, than {run}. Export a newer run.")
    sample = training.images[:: math.ceil(len(training) / CALIBRATION_IMAGES)] if quantize else None
    originals = {"original": model, "float32": to_float32(model)}
    with atomic_folder(folder) as temporary:
        file = temporary / name
        print(f"Converting {run} to {name}", flush=True)
        with _output_captured():
            write_model(originals["float32"], task, file, form, sample, calibration)
        print(f"Sending {len(test):,} test images through {name}, one at a time", flush=True)
        answers = run_file(file, data / "test_images.npy")
        facts = {"run": run, "data": task.name, "format": form, "quantize": quantize, "file": name}
        proof = facts | _describe(file) | compare_answers(answers, originals, test.images, test.labels)
        write_json(temporary / PROOF, proof)
        print(f"\n{format_proof(proof)}\n")
        difference, lost = proof["float32"]["greatest_difference"], proof["original"]["accuracy"] - proof["accuracy"]
        if not (quantize or difference <= max_difference):  # NaN is too great as well
            problem = f"its probabilities differ by up to {difference:.2g} from the model's"
            raise InputError(f"{name} is not written: {problem}. --max-difference {max_difference:g} is exceeded.")
        if lost > max_lost_accuracy:
            problem = f"its accuracy is {lost:.2%} lower than the model's"
            raise InputError(
                f"{name} is not written: {problem}. --max-lost-accuracy {max_lost_accuracy:g} is exceeded."
            )
    print(f"Wrote {name} and {PROOF} into {folder}", flush=True)


def to_float32(model: "keras.Model") -> "keras.Model":
    """Return a model with the same weights whose layers compute in float32: the model itself if they do already."""
    import keras

    if _precision(model) == "float32":
        return model
    clone = keras.models.clone_model(
        model, clone_function=lambda layer: type(layer).from_config({**layer.get_config(), "dtype": "float32"})
    )
    clone.set_weights(model.get_weights())  # layers with mixed precision keep their weights in float32
    return clone


def _precision(model: "keras.Model") -> str:
    return next((name for layer in model.layers if (name := layer.dtype_policy.name) != "float32"), "float32")


def write_model(
    model: "keras.Model",
    task: PictureTask,
    path: Path,
    form: Format,
    sample: np.ndarray | None = None,
    calibration: Calibration = UNCALIBRATED,
) -> None:
    """Write a model that scales its pixels itself, with the fields of its task and its calibration as metadata.

    The input of the file, `pixels`, is uint8, (n, *image_shape), 0…255; its output is float32, (n, classes).

    Args:
        model: Model in float32 from images, 0 to 1, to class probabilities.
        task: Task that the model solves.
        path: File, or folder of a SavedModel.
        form: Format of the file.
        sample: Training images, uint8, (n, *image_shape), 0…255, for the ranges of int8; None leaves float32.
        calibration: Temperature and threshold.
    """
    import keras
    import tensorflow as tf

    pixels = keras.Input(task.image_shape, dtype="uint8", name="pixels")
    scaled = keras.layers.Rescaling(1 / 255, dtype="float32")(pixels)
    probabilities = model(scaled, training=False)  # layers that change images at random are active by default
    options: dict[str, Any] = {}
    if form == "litert" and sample is not None:
        options["optimizations"] = [tf.lite.Optimize.DEFAULT]
        options["representative_dataset"] = lambda: ([image[np.newaxis]] for image in sample)
    keras.Model(pixels, probabilities).export(
        path,
        format="tf_saved_model" if form == "saved_model" else form,
        verbose=False,
        input_signature=[keras.InputSpec("uint8", (None, *task.image_shape), name="pixels")],
        **options,
    )
    metadata = json.dumps(asdict(task) | asdict(calibration))
    if form == "onnx":
        _complete_onnx(path, metadata, sample)
    elif form == "litert":
        with zipfile.ZipFile(path, "a") as archive:  # TensorFlow Lite's place for associated files
            archive.writestr(f"{METADATA}.json", metadata)
    else:
        (path / "assets.extra").mkdir()  # TensorFlow's place for files of users
        (path / f"assets.extra/{METADATA}.json").write_text(metadata, encoding="utf-8")


def _complete_onnx(file: Path, metadata: str, sample: np.ndarray | None) -> None:
    import onnx

    if sample is not None:
        from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

        inputs = ({"pixels": image[np.newaxis]} for image in sample)

        class Sample(CalibrationDataReader):  # type: ignore[misc]
            def get_next(self) -> dict[str, np.ndarray] | None:
                return next(inputs, None)

        quantize_static(file, file, Sample(), weight_type=QuantType.QInt8)
    model = onnx.load(file)
    onnx.helper.set_model_props(model, {METADATA: metadata})
    onnx.save(model, file)


def run_file(path: Path, images: Path) -> Arrays:
    """Send images through an exported file in a process of its own, and return its result, see `exported`.

    Raises:
        InputError: The file cannot be run.
    """
    search_path = os.pathsep.join(filter(None, [str(paths.ROOT / "src"), os.environ.get("PYTHONPATH")]))
    with TemporaryDirectory() as folder:
        result = Path(folder) / "result.npz"
        completed = subprocess.run(
            [sys.executable, "-P", "-m", "image_classifier.serve.exported", path, images, result],
            env={**os.environ, "PYTHONPATH": search_path},
            stderr=subprocess.PIPE,  # notices of LiteRT and TensorFlow
            text=True,
            check=False,
        )
        if completed.returncode:
            reason = (completed.stderr.strip() or f"exit code {completed.returncode}").splitlines()[-1]
            raise InputError(f"{path.name} cannot be run: {reason}")
        return read_arrays(result, ("probabilities", "seconds", "runtime"))


def _describe(path: Path) -> dict[str, Any]:
    files, machine = path.rglob("*") if path.is_dir() else [path], environment.describe()
    return {
        "bytes": sum(file.stat().st_size for file in files if file.is_file()),
        "md5": file_hashes(path.parent, [path.name])[path.name],
        **{fact: machine[fact] for fact in ("processor", "cores", "tensorflow")},
    }


def compare_answers(
    answers: Arrays, originals: dict[str, "keras.Model"], images: np.ndarray, labels: np.ndarray
) -> dict[str, Any]:
    """Return the accuracy and speed of an exported file, and how it differs from each original, as JSON types.

    Args:
        answers: Result of `run_file` for the images.
        originals: Models to compare it with.
        images: uint8, (n, height, width, channels), 0…255.
        labels: Labels of the images, (n,).
    """
    from image_classifier.evaluate.metrics import predict

    predicted = answers["probabilities"].argmax(axis=1)
    predict_once = cache(lambda model: predict(model, images, BATCH_SIZE))  # a model in float32 is both originals
    compared = {}
    for name, model in originals.items():
        expected = predict_once(model)
        compared[name] = {
            "precision": _precision(model),
            "accuracy": float((expected.argmax(axis=1) == labels).mean()),
            "greatest_difference": float(abs(answers["probabilities"] - expected).max()),
            "changed_predictions": int((predicted != expected.argmax(axis=1)).sum()),
        }
    times = np.percentile(1000 * answers["seconds"], (5, 50, 95)).tolist()
    return {
        "runtime": str(answers["runtime"]),
        "test_images": len(labels),
        "milliseconds_per_image": dict(zip(("5%", "median", "95%"), times, strict=True)),
        "accuracy": float((predicted == labels).mean()),
        **compared,
    }


def format_proof(proof: dict[str, Any]) -> str:
    """Return a proof as a table for people."""
    times, original, float32 = proof["milliseconds_per_image"], proof["original"], proof["float32"]
    spread = f"median, n = {proof['test_images']:,}, one thread; {times['5%']:.3f} to {times['95%']:.3f} ms in 90%"
    rows = {
        "file": f"{proof['file']} ({proof['runtime']})",
        "size": f"{proof['bytes'] / 1e6:.2f} MB",
        "time per image": f"{times['median']:.3f} ms ({spread})",
        "accuracy of the file": f"{proof['accuracy']:.2%}",
        "accuracy of the original": f"{original['accuracy']:.2%}",
        "greatest difference of probabilities": f"{original['greatest_difference']:.2g}",
        "changed predictions": f"{original['changed_predictions']:,}",
    }
    if original["precision"] != "float32":
        rows["accuracy of the original"] += f" (in {original['precision']}; in float32 {float32['accuracy']:.2%})"
        rows["greatest difference of probabilities"] += f" (from float32 {float32['greatest_difference']:.2g})"
        rows["changed predictions"] += f" (from float32 {float32['changed_predictions']:,})"
    return str(tabulate(rows.items(), tablefmt="plain", disable_numparse=True))


@contextmanager
def _output_captured() -> Iterator[None]:
    """Keep the notices and warnings of converters off the terminal, unless the block fails."""
    with TemporaryFile() as log:
        stderr = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            yield
        except Exception:
            log.seek(0)
            os.write(stderr, log.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
