import json
import socket
from dataclasses import replace

import pytest
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE
from tracking_helpers import superseded_runs

from image_classifier.errors import InputError
from image_classifier.provenance.result import Result
from image_classifier.track import ui
from image_classifier.track.store import Store
from image_classifier.track.ui import DESCRIPTION, VIEW_TAG, open_ui
from image_classifier.track.writer import record_result


@pytest.mark.usefixtures("store")
def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"^--port {port}: the port is in use"):
            open_ui(["mnist"], port)


def test_the_experiment_receives_its_description_and_the_view(store: Store) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(InputError):  # no server is started
        open_ui(["mnist"], taken.getsockname()[1])
    tags = store.client.get_experiment(store.experiment_id).tags
    assert tags[MLFLOW_RUN_NOTE] == DESCRIPTION
    view = json.loads(tags[VIEW_TAG])
    assert view["selectedColumns"][:4] == [
        "attributes.`Dataset`",
        "params.`optimizer`",
        "params.`batch_size`",
        "params.`epochs`",
    ]
    assert not any(chart["metricKey"].startswith("system/") for chart in view["compareRunCharts"])


def test_the_results_of_the_workspace_are_current_when_the_ui_is_opened(
    store: Store, adhoc_result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = replace(adhoc_result, outputs={**adhoc_result.outputs, "history.csv": "cdef"})
    older_id, newer_id = record_result(store, adhoc_result), record_result(store, newer)
    assert superseded_runs(store) == {older_id: newer_id}
    monkeypatch.setattr(ui, "workspace_trainings", lambda: {"sgd_32": {"outs": adhoc_result.outputs}})
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(InputError):  # no server is started
        open_ui(["mnist"], taken.getsockname()[1])
    assert superseded_runs(store) == {newer_id: older_id}


@pytest.mark.slow
def test_the_address_of_a_tracking_server_is_printed_and_nothing_is_started(
    monkeypatch: pytest.MonkeyPatch, tracking_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_server)
    open_ui(["shown"], 5000)
    assert capsys.readouterr().out.startswith(f"The runs: {tracking_server}/#/experiments/")
