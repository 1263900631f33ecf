"""Exports of a tiny model, and the proof of their answers."""

import json
import re
import subprocess
import sys
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
from data_helpers import save, tiny
from PIL import Image

from image_classifier import paths
from image_classifier.dataset import scale_pixels
from image_classifier.errors import InputError
from image_classifier.evaluate.calibration import UNCALIBRATED, Calibration
from image_classifier.fetch.pictures import PictureTask
from image_classifier.serve import export
from image_classifier.serve.export import Format, check_request, compare_answers, export_model, run_file, to_float32
from image_classifier.train.model import build_model

TASK = PictureTask("pets", ("cat", "dog"), (5, 4, 1), "pad")
LAYERS: list[dict[str, Any]] = [
    {"_target_": "keras.layers.Conv2D", "filters": 3, "kernel_size": 3, "activation": "relu"},
    {"_target_": "keras.layers.Flatten"},
    {"_target_": "keras.layers.Dense", "units": 2, "activation": "softmax", "dtype": "float32"},
]
RANDOM = {"_target_": "keras.layers.RandomTranslation", "height_factor": 0.5, "width_factor": 0.5}
TOLERANCES = {"max_difference": 1e-5, "max_lost_accuracy": 0.0}


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return build_model("tiny", [RANDOM, *LAYERS], TASK.image_shape, 2)  # like conf/model/cnn_rgb.yaml


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The prepared data set."""
    arrays = {name: array if array.ndim == 1 else array[..., np.newaxis] for name, array in tiny().items()}
    folder = save(tmp_path / "data", arrays)
    (folder / "dataset.json").write_text(json.dumps({"classes": TASK.classes}))
    monkeypatch.setattr(paths, "prepared_data", {"pets": folder}.__getitem__)
    return folder


def metadata(path: Path) -> Any:
    """Return the metadata of a file, read as docs/export.md says."""
    if path.suffix == ".onnx":
        (text,) = [entry.value for entry in onnx.load(path).metadata_props if entry.key == "picture_task"]
    elif path.suffix == ".tflite":
        text = zipfile.ZipFile(path).read("picture_task.json").decode()
    else:
        text = (path / "assets.extra/picture_task.json").read_text()
    return json.loads(text)


@pytest.mark.parametrize(
    ("form", "name", "runtime"),
    [
        ("onnx", "model.onnx", "onnxruntime"),
        ("litert", "model.tflite", "ai-edge-litert"),
        pytest.param("saved_model", "saved_model", "tensorflow", marks=pytest.mark.slow),
    ],
)
def test_a_file_answers_as_the_model_and_names_its_task_and_calibration(
    model: keras.Model,
    data: Path,
    tmp_path: Path,
    form: Format,
    name: str,
    runtime: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "export"
    export_model("mine", model, TASK, Calibration(1.5, 0.9), folder, form, None, **TOLERANCES)
    assert {path.name for path in folder.iterdir()} == {name, "proof.json"}
    assert metadata(folder / name) == {**json.loads(json.dumps(asdict(TASK))), "temperature": 1.5, "threshold": 0.9}
    proof = json.loads((folder / "proof.json").read_bytes())
    assert (proof["run"], proof["data"], proof["format"], proof["quantize"]) == ("mine", "pets", form, None)
    assert proof["runtime"].startswith(runtime)
    assert proof["original"] == proof["float32"]
    expected = model.predict_on_batch(scale_pixels(np.load(data / "test_images.npy"))).argmax(axis=1)
    assert proof["accuracy"] == (expected == np.load(data / "test_labels.npy")).mean()
    assert (proof["test_images"], proof["original"]["changed_predictions"]) == (4, 0)
    printed = capfd.readouterr()
    assert "accuracy of the original" in printed.out
    assert printed.err == ""


@pytest.mark.parametrize("form", ["onnx", "litert"])
def test_an_int8_file_is_smaller_and_close(data: Path, tmp_path: Path, form: Format) -> None:
    large = build_model("large", [LAYERS[1], {**LAYERS[2], "units": 512}, LAYERS[2]], TASK.image_shape, 2)
    sample = np.load(data / "train_images.npy")
    files = [tmp_path / name / export.FILES[form] for name in ("float32", "int8")]
    for file, images in zip(files, (None, sample), strict=True):
        file.parent.mkdir()
        export.write_model(large, TASK, file, form, images)
    assert files[1].stat().st_size < 0.7 * files[0].stat().st_size
    assert metadata(files[1]) == metadata(files[0])
    expected = large.predict_on_batch(scale_pixels(np.load(data / "test_images.npy")))
    difference = abs(run_file(files[1], data / "test_images.npy")["probabilities"] - expected).max()
    assert 1e-6 < difference < 0.05


def test_a_model_in_bfloat16_is_exported_in_float32(tmp_path: Path) -> None:
    model = build_model("tiny", LAYERS, TASK.image_shape, 2, "mixed_bfloat16")
    export_model(
        "mine", model, TASK, UNCALIBRATED, tmp_path / "export", "litert", None, max_difference=1e-5, max_lost_accuracy=1
    )
    proof = json.loads((tmp_path / "export/proof.json").read_bytes())
    assert [proof[name]["precision"] for name in ("original", "float32")] == ["mixed_bfloat16", "float32"]
    assert proof["float32"]["greatest_difference"] < 1e-5 < proof["original"]["greatest_difference"]
    for weights, others in zip(model.get_weights(), to_float32(model).get_weights(), strict=True):
        np.testing.assert_array_equal(weights, others)


def test_the_proof_counts_what_differs(model: keras.Model, data: Path) -> None:
    images, labels = np.load(data / "test_images.npy"), np.load(data / "test_labels.npy")
    expected = model.predict_on_batch(scale_pixels(images))
    probabilities = expected.copy()
    probabilities[0] = expected[0, ::-1]
    answers = {"probabilities": probabilities, "seconds": np.array([1, 2, 3, 4e-3]), "runtime": np.array("a library")}
    compared = compare_answers(answers, {"original": model}, images, labels)
    assert compared["original"]["changed_predictions"] == 1
    assert compared["original"]["greatest_difference"] == pytest.approx(abs(expected[0, 0] - expected[0, 1]))
    assert compared["original"]["accuracy"] == (expected.argmax(axis=1) == labels).mean()
    assert compared["accuracy"] == (probabilities.argmax(axis=1) == labels).mean()
    assert compared["milliseconds_per_image"]["median"] == 1500


def alter(path: Path) -> None:
    """Negate the weights of the last layer of an ONNX file."""
    model = onnx.load(path)
    (weights,) = [
        tensor for tensor in model.graph.initializer if list(tensor.dims)[-1:] == [2] and len(tensor.dims) == 2
    ]
    weights.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(weights), weights.name))
    onnx.save(model, path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            alter,
            r"^model\.onnx is not written: its probabilities differ by up to .* --max-difference 1e-05 is exceeded",
        ),
        (lambda path: path.write_bytes(path.read_bytes()[:99]), r"^model\.onnx cannot be run: "),
    ],
)
def test_a_wrong_file_is_refused_and_an_earlier_export_kept(
    model: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Any, message: str
) -> None:
    write_model, folder = export.write_model, tmp_path / "export"
    folder.mkdir()
    (folder / "proof.json").write_text("earlier")

    def write_and_damage(*arguments: Any) -> None:
        write_model(*arguments)
        damage(arguments[2])

    monkeypatch.setattr(export, "write_model", write_and_damage)
    with pytest.raises(InputError, match=message):
        export_model("mine", model, TASK, UNCALIBRATED, folder, "onnx", None, **TOLERANCES)
    assert [path.name for path in folder.iterdir()] == ["proof.json"]
    assert [path.name for path in tmp_path.iterdir() if "export" in path.name] == ["export"]


@pytest.mark.parametrize("quantize", [None, "int8"])
def test_a_lost_accuracy_is_refused(
    model: keras.Model, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quantize: Any
) -> None:
    labels = model.predict_on_batch(scale_pixels(np.load(data / "test_images.npy"))).argmax(axis=1)
    np.save(data / "test_labels.npy", labels.astype(np.uint8))
    wrong = {"probabilities": np.eye(2)[1 - labels], "seconds": np.ones(4), "runtime": np.array("a library")}
    monkeypatch.setattr(export, "write_model", lambda _model, _task, path, *_: path.touch())
    monkeypatch.setattr(export, "run_file", lambda *_: wrong)
    with pytest.raises(InputError, match=r"its accuracy is 100\.00% lower .* --max-lost-accuracy 0\.5 is exceeded\.$"):
        export_model(
            "mine",
            model,
            TASK,
            UNCALIBRATED,
            tmp_path / "export",
            "onnx",
            quantize,
            max_difference=1,
            max_lost_accuracy=0.5,
        )
    assert not (tmp_path / "export").exists()


def test_probabilities_that_are_no_numbers_are_refused(
    model: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"probabilities": np.full((4, 2), np.nan), "seconds": np.ones(4), "runtime": np.array("a library")}
    monkeypatch.setattr(export, "write_model", lambda _model, _task, path, *_: path.touch())
    monkeypatch.setattr(export, "run_file", lambda *_: answers)
    with pytest.raises(InputError, match="differ by up to nan"):
        export_model(
            "mine", model, TASK, UNCALIBRATED, tmp_path / "export", "onnx", None, max_difference=1, max_lost_accuracy=1
        )


def test_a_folder_with_other_files_is_refused(model: keras.Model, tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "export/letter.txt").touch()
    with pytest.raises(InputError, match=r"has other files, such as letter\.txt\. Choose a new folder: --output DIR$"):
        export_model("mine", model, TASK, UNCALIBRATED, tmp_path / "export", "onnx", None, **TOLERANCES)


def test_a_data_set_with_other_images_is_refused(model: keras.Model, tmp_path: Path) -> None:
    task = replace(TASK, classes=("bird", "dog"))
    with pytest.raises(InputError, match=r"other classes, than mine\. Export a newer run\.$"):
        export_model("mine", model, task, UNCALIBRATED, tmp_path / "export", "onnx", None, **TOLERANCES)


def test_a_saved_model_is_not_quantized() -> None:
    with pytest.raises(InputError, match=r"^--quantize int8: a SavedModel cannot be quantized\."):
        check_request("saved_model", "int8")


def test_missing_packages_are_named_with_the_command_that_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnx" else name)
    check_request("litert", "int8")
    with pytest.raises(InputError, match=r"^--format onnx needs onnx\. .*: pip install --editable '\.\[export\]'$"):
        check_request("onnx", None)


def test_a_file_is_run_without_tensorflow(
    model: keras.Model, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hidden").mkdir()
    for name in ("tensorflow", "keras"):
        (tmp_path / f"hidden/{name}.py").write_text("raise RuntimeError('imported')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "hidden"))
    export.write_model(model, TASK, tmp_path / "model.tflite", "litert")
    assert run_file(tmp_path / "model.tflite", data / "test_images.npy")["probabilities"].shape == (4, 2)
    with pytest.raises(InputError, match=r"^saved_model cannot be run: RuntimeError: imported$"):
        run_file(tmp_path / "saved_model", data / "test_images.npy")


def test_the_example_in_the_documentation_classifies_a_picture(tmp_path: Path) -> None:
    (example,) = re.findall(
        r"^```python\n((?:(?!```).)*onnxruntime.*?)^```$",
        (paths.ROOT / "docs/export.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    task = PictureTask("colours", ("dark", "bright"), (4, 6, 3), "stretch")
    model = build_model("tiny", LAYERS[1:], task.image_shape, 2)
    model.set_weights([np.tile([-1.0, 1.0], (4 * 6 * 3, 1)), np.array([10.0, -10.0])])
    export.write_model(model, task, tmp_path / "model.onnx", "onnx")
    Image.new("L", (60, 40), 255).save(tmp_path / "digit.png")
    completed = subprocess.run(
        [sys.executable, "-I", "-c", example], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert completed.stdout == "bright\n"
