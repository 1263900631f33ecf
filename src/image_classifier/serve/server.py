"""The HTTP server of the promoted model, which refuses foreign and unusable requests."""

import asyncio
import json
import os
import re
import socket
from typing import TYPE_CHECKING

import numpy as np
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from image_classifier.config.compose import load_tracking
from image_classifier.errors import InputError
from image_classifier.track.registry import find_version, load_address
from image_classifier.track.store import Store

if TYPE_CHECKING:
    import keras

HOST = "127.0.0.1"
MAX_BYTES = 10_000_000  # of a request; a thousand images with four digits per pixel are 6 MB


def serve(port: int) -> None:
    """Serve the promoted model, which only this machine can reach, until Ctrl-C.

    Args:
        port: Port on 127.0.0.1.

    Raises:
        InputError: No model is promoted, the tracking store cannot be reached, or the port is in use.
    """
    tracking = load_tracking()
    store, model = Store(tracking.experiment), tracking.registered_model
    version = find_version(store, model, tracking.alias)
    if version is None:
        raise InputError(f"There is no {model}@{tracking.alias} yet. Choose a run: image-classifier promote RUN")
    try:
        listener = socket.create_server((HOST, port))
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise InputError(f"--port {port}: {reason}. Choose another port: image-classifier serve --port PORT") from None
    with listener:
        application = make_application(load_address(store, f"models:/{model}/{version}"))
        address = f"http://{HOST}:{port}/invocations"
        print(f"Version {version} of {model} answers at {address} (docs/deployment.md). Ctrl-C ends it.", flush=True)
        config = uvicorn.Config(application, log_level="warning", timeout_graceful_shutdown=5)
        uvicorn.Server(config).run(sockets=[listener])


def make_application(model: "keras.Model") -> FastAPI:
    """Return the HTTP application of a model: `GET /ping`, and `POST /invocations` in MLflow's format.

    Requests are refused with a status from 400 to 499 and one line of JSON.
    """
    application = FastAPI(openapi_url=None, dependencies=[Depends(check_origin)])  # None: no /docs either
    shape, turn = model.input_shape[1:], asyncio.Lock()

    def predict(body: bytes) -> Response:
        probabilities = model.predict(parse_images(body, shape), verbose=0)
        return JSONResponse({"predictions": probabilities.tolist()})

    @application.get("/ping")
    def ping() -> None: ...

    @application.post("/invocations", dependencies=[Depends(check_size)])
    async def invocations(request: Request) -> Response:
        body = await request.body()
        async with turn:  # one request at a time: TensorFlow uses all cores, and memory is limited
            return await asyncio.to_thread(predict, body)

    return application


def check_origin(request: Request) -> None:
    """Check that a request comes from this machine, and not from a page of another server in its browser.

    Such a page can make its own host name point to this machine, and then names that host.

    Raises:
        HTTPException: The request is refused.
    """
    host, origin = request.headers.get("host", ""), request.headers.get("origin")
    if not re.fullmatch(rf"({re.escape(HOST)}|localhost)(:\d+)?", host):
        raise HTTPException(403, f"Host: {host}: should be {HOST} or localhost.")
    if origin not in (None, f"http://{host}"):
        raise HTTPException(403, f"Origin: {origin}: should be http://{host}.")


def check_size(request: Request) -> None:
    """Check type and length of a request before it is read.

    Raises:
        HTTPException: The request is refused.
    """
    content, length = request.headers.get("content-type", ""), request.headers.get("content-length")
    if content.partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, f"Content-Type: {content}: should be application/json.")
    if length is None or "transfer-encoding" in request.headers:
        raise HTTPException(411, "Content-Length is missing. Send the body in one piece.")
    if int(length) > MAX_BYTES:
        raise HTTPException(413, f"Content-Length: {length}: should be at most {MAX_BYTES}. Send fewer images at once.")


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
