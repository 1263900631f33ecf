"""The server of the promoted model: its answers and its refusals."""

import http.client
import json
from base64 import b64decode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from servers import serving as running

from image_classifier.dataset import Arrays
from image_classifier.errors import InputError
from image_classifier.evaluate.calibration import UNCALIBRATED, Calibration
from image_classifier.fetch.pictures import FORMATS, PictureTask
from image_classifier.serve import server
from image_classifier.serve.predict import convert_pictures, predict_pictures
from image_classifier.train.model import build_model

DIGITS = PictureTask("mnist", tuple("0123456789"), (28, 28, 1), "digit")
NO_PICTURE = f"not a picture in one of the formats {', '.join(FORMATS)}"
SHAPE = (2, 2, 1)
IMAGE = np.full(SHAPE, 0.5).tolist()


def png(image: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(image).save(file, "png")
    return file.getvalue()


BLANK = png(np.full((50, 50), 128, np.uint8))
DAMAGED = png(np.random.default_rng(0).integers(0, 256, (100, 100), np.uint8))[:5000]


def predict(images: np.ndarray, verbose: int) -> np.ndarray:
    """Return the mean of each image."""
    assert images.dtype == np.float32
    assert verbose == 0
    means: np.ndarray = images.mean(axis=(1, 2))
    return means


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Port of a server whose model returns the mean of an image."""
    model = SimpleNamespace(input_shape=(None, *SHAPE), predict=predict)
    with running(server.make_application([("mean", model, UNCALIBRATED)], DIGITS)) as port:
        yield port


@pytest.fixture(scope="module")
def models() -> dict[str, keras.Model]:
    """Two models with different random weights."""
    dense = {"_target_": "keras.layers.Dense", "units": 10, "activation": "softmax"}
    return {
        name: build_model(name, [{"_target_": "keras.layers.Flatten"}, dense], (28, 28, 1), 10)
        for name in ("first", "second")
    }


@pytest.fixture(scope="module")
def picture_port(models: dict[str, keras.Model]) -> Iterator[int]:
    """Port of a server of both models."""
    with running(
        server.make_application([(name, model, UNCALIBRATED) for name, model in models.items()], DIGITS)
    ) as port:
        yield port


@pytest.fixture(params=["png", "jpeg", "tiff"])
def picture(request: pytest.FixtureRequest, raw: Arrays, tmp_path: Path) -> Path:
    """A picture file with a dark digit on white."""
    path = tmp_path / f"digit.{request.param}"
    Image.fromarray(255 - np.pad(raw["test_images"][0], 30)).save(path)
    return path


def send(port: int, body: Any, method: str = "POST", path: str = "/invocations", **headers: str) -> tuple[int, str]:
    """Return status and text of an answer."""
    connection = http.client.HTTPConnection(server.HOST, port, timeout=60)
    names = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    connection.request(method, path, body, names)
    with connection.getresponse() as answer:
        text = answer.read().decode()
    connection.close()
    return answer.status, text


def inputs(value: object) -> str:
    return json.dumps({"inputs": value})


def test_fifty_requests_at_once_are_answered(port: int) -> None:
    values = [number / 64 for number in range(50)]
    with ThreadPoolExecutor(50) as clients:
        answers = list(clients.map(lambda value: send(port, inputs([np.full(SHAPE, value).tolist()])), values))
    assert [(status, json.loads(text)) for status, text in answers] == [
        (200, {"predictions": [[value]]}) for value in values
    ]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (inputs([np.full(SHAPE, np.nan).tolist()]), "values from nan to nan"),
        (inputs([np.full(SHAPE, 255).tolist()]), "values from 255 to 255"),
        (inputs([np.full(SHAPE, -1.0).tolist()]), "values from -1 to -1"),
        (inputs([np.full(SHAPE, True).tolist()]), "bool values"),
        (inputs([np.full(SHAPE, "0").tolist()]), "values in shape (1, 2, 2, 1)"),
        (inputs([[0.0] * 4]), "values in shape (1, 4)"),
        (inputs([IMAGE, [0.0]]), "inhomogeneous"),
        (inputs(None), "object values"),
        (inputs([]), "values in shape (0,)"),
        (json.dumps({"inputs": [IMAGE], "instances": [IMAGE]}), "The body should be"),
        (json.dumps([IMAGE]), "The body should be"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"inputs"', "Expecting"),
        (b"\xff", "decode"),
    ],
)
def test_unusable_images_are_refused_with_the_expected_shape_and_range(
    port: int, body: str | bytes, reason: str
) -> None:
    status, text = send(port, body)
    assert status == 400
    assert "\n" not in text
    detail = json.loads(text)["detail"]
    assert reason in detail
    assert "should be a list of images of shape (2, 2, 1) with values from 0 to 1." in detail


@pytest.mark.parametrize(
    "headers", [{"Host": "example.org"}, {"Host": "127.0.0.1.example.org:5001"}, {"Origin": "http://example.org"}]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/invocations"),
        ("POST", "/picture"),
        ("GET", "/ping"),
        ("GET", "/"),
        ("GET", "/page.js"),
        ("GET", "/models"),
    ],
)
def test_a_foreign_request_is_refused(port: int, method: str, path: str, headers: dict[str, str]) -> None:
    status, text = send(port, inputs([IMAGE]), method, path, **headers)
    assert status == 403
    assert json.loads(text)["detail"].startswith(": ".join(*headers.items()))


def test_a_page_of_the_server_itself_has_access(port: int) -> None:
    host = f"localhost:{port}"
    assert send(port, inputs([IMAGE]), Host=host, Origin=f"http://{host}") == (200, '{"predictions":[[0.5]]}')


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (b" " * (server.MAX_BYTES + 1), {}, 413),
        (lambda: iter([b"{}"]), {}, 411),  # in chunks
        (b"{}", {"Content_Type": "text/csv"}, 415),
    ],
)
@pytest.mark.parametrize(("path", "content"), [("/invocations", "application/json"), ("/picture", "image/png")])
def test_a_request_of_another_size_or_type_is_refused(
    port: int, path: str, content: str, body: Any, headers: dict[str, str], expected: int
) -> None:
    status, text = send(port, body() if callable(body) else body, path=path, **{"Content_Type": content, **headers})
    assert status == expected
    assert json.loads(text)["detail"].startswith("Content-")


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/server.py", "/..%2fserver.py"])
def test_other_files_and_pages_that_load_scripts_from_other_hosts_are_off(port: int, path: str) -> None:
    assert send(port, None, "GET", path)[0] == 404


@pytest.mark.parametrize("content", ["image/png", "application/octet-stream"])
def test_a_picture_has_the_probabilities_that_predict_and_invocations_give(
    picture_port: int, models: dict[str, keras.Model], picture: Path, content: str
) -> None:
    status, text = send(picture_port, picture.read_bytes(), path="/picture", Content_Type=content)
    assert status == 200
    answers = json.loads(text)["models"]
    assert [(answer["name"], answer["champion"]) for answer in answers] == [("first", True), ("second", False)]
    images, _ = convert_pictures([picture], DIGITS)
    for answer, model in zip(answers, models.values(), strict=True):
        assert list(answer["probabilities"]) == list(DIGITS.classes)
        (row,) = predict_pictures(model, images, DIGITS.classes).to_dict("records")
        assert answer["probabilities"][row["class"]] == row["probability"]
        assert answer["probabilities"][row["third_class"]] == row["third_probability"]
    _, text = send(picture_port, inputs([(images[picture] / np.float32(255)).tolist()]))
    assert json.loads(text)["predictions"] == [list(answers[0]["probabilities"].values())]


def test_the_answer_has_the_image_that_the_network_sees(picture_port: int, picture: Path) -> None:
    _, text = send(picture_port, picture.read_bytes(), path="/picture", Content_Type="image/png")
    start, _, content = json.loads(text)["image"].partition(",")
    assert start == "data:image/png;base64"
    with Image.open(BytesIO(b64decode(content))) as seen:
        np.testing.assert_array_equal(np.asarray(seen)[..., np.newaxis], DIGITS.convert(picture))


def test_class_names_and_the_form_of_an_image_come_from_the_task() -> None:
    model = SimpleNamespace(
        input_shape=(None, 2, 3, 3), predict_on_batch=lambda images: np.stack([images.mean(axis=(1, 2, 3)), [0.25]], 1)
    )
    task = PictureTask("pets", ("cat", "dog"), (2, 3, 3), "stretch")
    with running(server.make_application([("colours", model, UNCALIBRATED)], task)) as port:
        _, listed = send(port, None, "GET", "/models")
        _, text = send(port, png(np.full((4, 6, 3), 51, np.uint8)), path="/picture", Content_Type="image/png")
    assert json.loads(listed) == {
        "data": "pets",
        "classes": ["cat", "dog"],
        "models": [{"name": "colours", "champion": True}],
    }
    assert json.loads(text)["models"][0]["probabilities"] == {"cat": pytest.approx(0.2), "dog": 0.25}


@pytest.mark.parametrize(("threshold", "sure"), [(None, None), (0.6, True), (0.7, False)])
def test_a_picture_has_the_calibrated_probabilities_and_whether_the_model_is_sure(
    threshold: float | None, sure: bool | None
) -> None:
    model = SimpleNamespace(input_shape=(None, 2, 2, 1), predict_on_batch=lambda _images: np.array([[0.2, 0.8]]))
    task = PictureTask("pets", ("cat", "dog"), (2, 2, 1), "stretch")
    served = [("pets", model, Calibration(2.0, threshold))]
    with running(server.make_application(served, task)) as port:
        _, text = send(port, png(np.eye(2, dtype=np.uint8)), path="/picture", Content_Type="image/png")
    (answer,) = json.loads(text)["models"]
    assert answer["probabilities"] == {"cat": pytest.approx(1 / 3), "dog": pytest.approx(2 / 3)}
    assert answer["sure"] is sure


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty."),
        (b"text", NO_PICTURE),
        (DAMAGED, "cannot be decoded: "),
        (BLANK, "no digit found: the picture is blank or has too little contrast."),
    ],
)
def test_an_unusable_picture_is_refused_with_one_line(picture_port: int, content: bytes, reason: str) -> None:
    status, text = send(picture_port, content, path="/picture", Content_Type="image/png")
    assert status == 400
    assert "\n" not in text
    assert json.loads(text)["detail"].startswith(reason)


@pytest.mark.parametrize("path", ["/", "/page.css", "/page.js"])
def test_the_page_may_load_nothing_from_other_hosts_and_no_other_page_may_contain_it(port: int, path: str) -> None:
    connection = http.client.HTTPConnection(server.HOST, port, timeout=60)
    connection.request("GET", path)
    with connection.getresponse() as answer:
        text, headers = answer.read().decode(), answer.headers
    connection.close()
    assert answer.status == 200
    assert "default-src 'self';" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "//" not in text.replace("// ", "")


@pytest.fixture
def champions(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The versions of the champions by model, in a store that needs no database."""
    registered: dict[str, str] = {}
    monkeypatch.setattr(server, "Store", lambda _experiment: None)
    monkeypatch.setattr(server, "find_champion", lambda _store, model: registered.get(model))
    return registered


@pytest.mark.usefixtures("champions")
def test_a_missing_promotion_is_named_with_the_remedy() -> None:
    message = r"^There is no mnist@champion yet\. Choose a run: image-classifier promote RUN$"
    with pytest.raises(InputError, match=message):
        server.serve(5001, None)


def test_a_port_in_use_is_named_with_the_remedy(champions: dict[str, str], port: int) -> None:
    champions["mnist"] = "1"
    with pytest.raises(InputError, match=rf"^--port {port}: Address already in use\. .* serve --port PORT$"):
        server.serve(port, None)


@pytest.mark.usefixtures("champions")
def test_an_unknown_data_set_is_named_with_the_choices() -> None:
    with pytest.raises(InputError, match=r"^data=pets is not a data set of params\.yaml\. Choose one of: mnist\.$"):
        server.serve(5001, "pets")
