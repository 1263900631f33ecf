import json
import socket

import pytest
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from image_classifier.errors import InputError
from image_classifier.track.store import Store
from image_classifier.track.ui import DESCRIPTION, VIEW_TAG, open_ui


@pytest.mark.usefixtures("store")
def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"^--port {port}: the port is in use"):
            open_ui("test", port)


def test_the_experiment_receives_its_description_and_the_view(store: Store) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(InputError):  # no server is started
        open_ui("test", taken.getsockname()[1])
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


@pytest.mark.slow
def test_the_address_of_a_tracking_server_is_printed_and_nothing_is_started(
    monkeypatch: pytest.MonkeyPatch, tracking_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_server)
    open_ui("shown", 5000)
    assert capsys.readouterr().out.startswith(f"The runs: {tracking_server}/#/experiments/")
