"""The HTTP server of the promoted model, which refuses foreign and unusable requests, and its page for drawings."""

import asyncio
import json
import logging
import os
import re
import socket
from base64 import b64encode
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from PIL import Image

from image_classifier.config.compose import load_params
from image_classifier.dataset import scale_pixels
from image_classifier.errors import InputError
from image_classifier.evaluate.calibration import Calibration
from image_classifier.fetch.pictures import PictureTask
from image_classifier.track.reader import find_calibration, load_other_models, read_task
from image_classifier.track.registry import CHAMPION, find_champion, find_origin, load_address
from image_classifier.track.store import Store

if TYPE_CHECKING:
    import keras

HOST = "127.0.0.1"
MAX_BYTES = 10_000_000  # size of a request; a thousand images with four digits per pixel are 6 MB
PAGE_FOLDER = Path(__file__).with_name("page")
PAGE_FILES = ("index.html", "page.css", "page.js")
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",  # a browser asks again, so that the files always belong together
}


def serve(port: int, data: str | None) -> None:
    """Serve the promoted model, and a page with the answers of all current runs, to this machine until Ctrl-C.

    Args:
        data: Name of the data set; None stands for the first one of params.yaml.
        port: Port on 127.0.0.1.

    Raises:
        InputError: No model is promoted, the tracking store cannot be reached, or the port is in use.
    """
    model = load_params().choose_data(data)
    store = Store(model)
    version = find_champion(store, model)
    if version is None:
        raise InputError(f"There is no {model}@{CHAMPION} yet. Choose a run: image-classifier promote RUN")
    try:
        listener = socket.create_server((HOST, port))
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise InputError(f"--port {port}: {reason}. Choose another port: image-classifier serve --port PORT") from None
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns that every model builds a graph of its own
    with listener:
        run_id, name = find_origin(store, model, version)
        champion = (name, load_address(store, f"models:/{model}/{version}"), find_calibration(store, run_id))
        others = load_other_models(store, run_id)
        application = make_application([champion, *others], read_task(store, run_id))
        address = f"http://{HOST}:{port}"
        print(f"Draw a picture: {address}")
        print(
            f"Version {version} of {model} answers at {address}/invocations (docs/deployment.md). Ctrl-C ends it.",
            flush=True,
        )
        config = uvicorn.Config(application, log_level="warning", timeout_graceful_shutdown=5)
        uvicorn.Server(config).run(sockets=[listener])


def make_application(models: Sequence[tuple[str, "keras.Model", Calibration]], task: PictureTask) -> FastAPI:
    """Return the HTTP application of some models.

    `POST /invocations`, in MLflow's format, and `GET /ping` are for programs. `GET /` is the page, which asks for the
    names of `GET /models` and sends picture files to `POST /picture`. Requests are refused with a status from 400 to
    499 and one line of JSON.

    Args:
        models: Name, model and calibration of each run, the champion first, which answers `POST /invocations` with the
            output of its model.
        task: Task that all of them solve.
    """
    application = FastAPI(openapi_url=None, dependencies=[Depends(check_origin)])  # None: no /docs either
    champion = models[0][1]
    model_lock = asyncio.Lock()
    shape = champion.input_shape[1:]
    entries = [{"name": name, "champion": model is champion} for name, model, _ in models]

    def predict(body: bytes) -> Response:
        probabilities = champion.predict(parse_images(body, shape), verbose=0)
        return JSONResponse({"predictions": probabilities.tolist()})

    def classify(body: bytes) -> Response:
        try:
            image = task.convert(BytesIO(body))
        except InputError as error:
            raise HTTPException(400, f"{error}.") from None
        batch = scale_pixels(image[np.newaxis])
        predictions = []
        for entry, (_, model, calibration) in zip(entries, models, strict=True):
            # For one image, `predict_on_batch` gives the same result as `predict` in a small part of the time
            probabilities = calibration.apply(model.predict_on_batch(batch))
            sure = calibration.is_sure(probabilities)
            predictions.append(
                {
                    **entry,
                    "probabilities": dict(zip(task.classes, probabilities[0].tolist(), strict=True)),
                    "sure": None if sure is None else bool(sure[0]),
                }
            )
        return JSONResponse({"image": png_url(image), "models": predictions})

    async def run_locked(function: Callable[[bytes], Response], request: Request) -> Response:
        body = await request.body()
        async with model_lock:  # one request at a time: TensorFlow uses all cores, and memory is limited
            return await asyncio.to_thread(function, body)

    @application.get("/ping")
    def ping() -> None: ...

    @application.post("/invocations", dependencies=[Depends(body_check("application/json"))])
    async def invocations(request: Request) -> Response:
        return await run_locked(predict, request)

    @application.get("/models")
    def list_models() -> Response:
        return JSONResponse({"data": task.name, "classes": task.classes, "models": entries})

    @application.post("/picture", dependencies=[Depends(body_check("image/*", "application/octet-stream"))])
    async def picture(request: Request) -> Response:
        return await run_locked(classify, request)

    @application.get("/")
    @application.get("/{name}")
    def page(name: str = PAGE_FILES[0]) -> Response:
        if name not in PAGE_FILES:
            raise HTTPException(404, f"/{name}: no such page.")
        return FileResponse(PAGE_FOLDER / name, headers=PAGE_HEADERS)

    return application


def check_origin(request: Request) -> None:
    """Check that a request comes from this machine, and not from a page of another server in its browser.

    This prevents DNS rebinding: a foreign page whose host name resolves to 127.0.0.1 sends that name as Host.

    Raises:
        HTTPException: The request is refused.
    """
    host = request.headers.get("host", "")
    origin = request.headers.get("origin")
    if not re.fullmatch(rf"({re.escape(HOST)}|localhost)(:\d+)?", host):
        raise HTTPException(403, f"Host: {host}: should be {HOST} or localhost.")
    if origin not in (None, f"http://{host}"):
        raise HTTPException(403, f"Origin: {origin}: should be http://{host}.")


def body_check(*types: str) -> Callable[[Request], None]:
    """Return a check of type and length of a request before it is read, which raises an `HTTPException`.

    Args:
        types: Patterns of the media types that are accepted, such as image/*.
    """

    def check_body(request: Request) -> None:
        content = request.headers.get("content-type", "")
        length = request.headers.get("content-length")
        if not any(fnmatch(content.partition(";")[0].strip().lower(), pattern) for pattern in types):
            raise HTTPException(415, f"Content-Type: {content}: should be {' or '.join(types)}.")
        if length is None or "transfer-encoding" in request.headers:
            raise HTTPException(411, "Content-Length is missing. Send the body in one piece.")
        if int(length) > MAX_BYTES:
            raise HTTPException(
                413, f"Content-Length: {length}: should be at most {MAX_BYTES} bytes. Send less at once."
            )

    return check_body


def parse_images(body: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Return the images of a request as float32, (n, *shape).

    Args:
        body: JSON of the request.
        shape: Shape of an image.

    Raises:
        HTTPException: The images cannot be classified.
    """
    expected = f"should be a list of images of shape {shape} with values from 0 to 1."
    try:
        document = json.loads(body)
        if not isinstance(document, dict) or document.keys() != {"inputs"}:
            raise HTTPException(400, f'The body should be {{"inputs": [...]}}; inputs {expected}')
        images = np.asarray(document["inputs"])
    except RecursionError:
        raise HTTPException(400, f"The JSON is nested too deeply: inputs {expected}") from None
    except ValueError as error:
        raise HTTPException(400, f"{error}: inputs {expected}") from None
    if images.dtype.kind not in "iuf" or images.shape[1:] != shape:
        raise HTTPException(400, f"inputs: {images.dtype.name} values in shape {images.shape}: {expected}")
    if not ((images >= 0) & (images <= 1)).all():  # NaN is not in the range either
        found = f"values from {images.min():g} to {images.max():g}"
        raise HTTPException(400, f"inputs: {found}: {expected} Divide pixels from 0 to 255 by 255.")
    return images.astype(np.float32)


def png_url(image: np.ndarray) -> str:
    """Return an image, uint8, (height, width, channels), as the data URL of a PNG file."""
    file = BytesIO()
    Image.fromarray(image.squeeze()).save(file, "png")
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"
