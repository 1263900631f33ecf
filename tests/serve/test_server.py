"""The server of the promoted model: its answers and its refusals."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import uvicorn

from image_classifier.errors import InputError
from image_classifier.serve import server

SHAPE = (2, 2, 1)
IMAGE = np.full(SHAPE, 0.5).tolist()


def predict(images: np.ndarray, verbose: int) -> np.ndarray:
    """Return the mean of each image."""
    assert images.dtype == np.float32
    assert verbose == 0
    means: np.ndarray = images.mean(axis=(1, 2))
    return means


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Port of a running server, whose model returns the mean of an image."""
    application = server.make_application(SimpleNamespace(input_shape=(None, *SHAPE), predict=predict))
    running = uvicorn.Server(uvicorn.Config(application, log_level="warning"))
    with socket.create_server((server.HOST, 0)) as listener:
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        yield listener.getsockname()[1]
        running.should_exit = True
        thread.join()


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
@pytest.mark.parametrize(("method", "path"), [("POST", "/invocations"), ("GET", "/ping")])
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
        (iter([b"{}"]), {}, 411),  # in chunks
        (b"{}", {"Content_Type": "text/csv"}, 415),
    ],
)
def test_a_request_of_another_size_or_type_is_refused(
    port: int, body: Any, headers: dict[str, str], expected: int
) -> None:
    status, text = send(port, body, **{"Content-Type": "application/json", **headers})
    assert status == expected
    assert json.loads(text)["detail"].startswith("Content-")


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_pages_that_load_scripts_from_other_hosts_are_off(port: int, path: str) -> None:
    assert send(port, None, "GET", path)[0] == 404


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], str]:
    """The registered versions by model and alias, in a store that needs no database."""
    registered: dict[tuple[str, str], str] = {}
    monkeypatch.setattr(server, "Store", lambda _experiment: None)
    monkeypatch.setattr(server, "find_version", lambda _store, *model_and_alias: registered.get(model_and_alias))
    return registered


@pytest.mark.usefixtures("versions")
def test_a_missing_promotion_is_named_with_the_remedy() -> None:
    message = r"^There is no mnist@champion yet\. Choose a run: image-classifier promote RUN$"
    with pytest.raises(InputError, match=message):
        server.serve(5001)


def test_a_port_in_use_is_named_with_the_remedy(versions: dict[tuple[str, str], str], port: int) -> None:
    versions["mnist", "champion"] = "1"
    with pytest.raises(InputError, match=rf"^--port {port}: Address already in use\. .* serve --port PORT$"):
        server.serve(port)
