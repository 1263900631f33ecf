"""The promoted model behind HTTP."""

import json
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import CLI, environment, run
from servers import free_port, running


def post(port: int, inputs: object) -> tuple[int, Any]:
    """Send inputs to the server and return status and answer."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        json.dumps({"inputs": inputs}).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.slow
def test_the_promoted_model_answers_over_http_as_the_pipeline_predicted(project_copy: Path) -> None:
    missing = run(project_copy, CLI, "serve", fails=True)
    assert missing == "Error: There is no mnist@champion yet. Choose a run: image-classifier promote RUN\n"
    promoted = run(project_copy, CLI, "promote", "adadelta_128")
    assert promoted == "mnist@champion is now version 1 (adadelta_128). Serve it: image-classifier serve\n"
    images = np.load(project_copy / "data/prepared/mnist/test_images.npy")[:20].astype(np.float32) / 255
    with np.load(project_copy / "runs/mnist/adadelta_128/predictions.npz") as arrays:
        expected = arrays["probabilities"][:20]
    port = free_port()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with running(
        [CLI, "serve", "--port", str(port)],
        f"http://127.0.0.1:{port}/ping",
        cwd=project_copy,
        env=environment(project_copy),
        **quiet,
    ):
        status, answer = post(port, images.tolist())
        assert status == 200
        np.testing.assert_allclose(answer["predictions"], expected, atol=1e-5)
        for malformed in ([[0.0] * 784], images[:, :14].tolist(), "seven", None):
            status, answer = post(port, malformed)
            assert status == 400
            assert answer["detail"]
