"""The MLflow UI, which opens with the columns and charts that matter for image classifiers."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import typer
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from image_classifier.errors import InputError
from image_classifier.files import digest
from image_classifier.provenance.result import workspace_trainings
from image_classifier.track.backfill import mark_current
from image_classifier.track.store import SUPERSEDED_TAG, Store, sqlite_file

HOST = "127.0.0.1"
VIEW = "overview"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"  # MLflow's UI reads a view from this tag of an experiment
COLUMNS = (
    "attributes.`Dataset`",
    *(f"params.`{name}`" for name in ("optimizer", "batch_size", "epochs")),
    *(f"metrics.`{name}`" for name in ("test_accuracy", "test_loss", "training_seconds", "val_accuracy")),
)
WIDTHS = dict(zip(COLUMNS, (225, 90, 90, 75, 115, 100, 130, 115), strict=True))  # in pixels
CHARTS = {"test_accuracy": "BAR", "loss": "LINE", "val_loss": "LINE", "accuracy": "LINE", "val_accuracy": "LINE"}
DESCRIPTION = """\
Each run is one result of a training: a row of `params.yaml` (such as `sgd_32`), a single training from the command
line, a trial of a sweep (below the run `sweep_…`) or a replicate with another seed (below `replicates of …`).
*test_accuracy* and *test_loss* are measured on the test images; trials are compared on held-out training images and do
not have these metrics. Each run names its data, code and configuration, and the command that reproduces it. Runs with
the tag `superseded_by` have a newer result of the same name; the filter of this view hides them.
"""


def open_ui(experiments: Sequence[str], port: int) -> None:
    """Print the address of the first experiment in the MLflow UI, open it in a browser, and serve it until Ctrl-C.

    A tracking server has a UI of its own, so that nothing is started for it. Without a terminal no browser is opened.

    Args:
        experiments: Names of the MLflow experiments, which are the data sets.
        port: Port on 127.0.0.1.

    Raises:
        InputError: The store cannot be reached, the port is in use, or MLflow does not start.
    """
    stores = [Store(experiment) for experiment in experiments]
    for store in stores:
        if sqlite_file(store.uri):  # it belongs to this workspace alone, which `dvc checkout` may have changed
            mark_current(store, [digest(stage["outs"]) for stage in workspace_trainings().values()])
        with store.translate_errors():
            store.client.set_experiment_tag(store.experiment_id, MLFLOW_RUN_NOTE, DESCRIPTION)
            store.client.set_experiment_tag(store.experiment_id, VIEW_TAG, json.dumps(view()))
    store = stores[0]
    page = f"/#/experiments/{store.experiment_id}/runs?workflowType=machine_learning&compareRunsMode=CHART"
    page += f"&viewStateShareKey={VIEW}"
    if store.is_server:
        _show(store.uri.rstrip("/") + page)
        return
    if _answers(port):
        raise InputError(f"--port {port}: the port is in use. End the other server, or choose another port.")
    command = ["mlflow", "ui", "--host", HOST, "--port", str(port), "--workers", "1", "--backend-store-uri", store.uri]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # otherwise it starts 13 more processes
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # In a process group of its own, the server does not receive Ctrl-C, which would end it with a traceback
    with subprocess.Popen([sys.executable, "-m", *command], env=environment, process_group=0) as server:
        try:
            while server.poll() is None and not _answers(port):
                time.sleep(0.2)
            if server.poll() is None:
                _show(f"http://{HOST}:{port}{page}")
            if server.wait() > 0:
                raise InputError(f"The MLflow UI ended with exit code {server.returncode}.")
        except KeyboardInterrupt:
            pass
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)


def view() -> dict[str, Any]:
    """Return the state of the runs page in the UI: its columns, and its charts, which exclude system metrics."""
    charts = [
        {
            "uuid": f"{VIEW}-{metric}",
            "type": kind,
            "metricKey": metric,
            "displayName": metric,
            "metricSectionId": VIEW,
            "runsCountToCompare": 10,
            "xAxisKey": "step",
            "lineSmoothness": 0,
            "displayPoints": True,
        }
        for metric, kind in CHARTS.items()
    ]
    return {
        "searchFilter": f"tags.{SUPERSEDED_TAG} IS NULL",
        "selectedColumns": COLUMNS,
        "columnOrder": COLUMNS,
        "columnWidths": WIDTHS,
        "compareRunCharts": charts,
        "compareRunSections": [{"uuid": VIEW, "name": "Results", "display": True, "isReordered": True}],
        "isAccordionReordered": True,
    }


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


def _show(address: str) -> None:
    print(f"The runs: {address}", flush=True)
    if sys.stdout.isatty():
        typer.launch(address)
