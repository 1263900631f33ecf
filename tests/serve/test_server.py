"""The command line of the server of the promoted model."""

import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from image_classifier.errors import InputError
from image_classifier.serve import server


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], str]:
    """The registered versions by model and alias, in a store that needs no database."""
    registered: dict[tuple[str, str], str] = {}
    monkeypatch.setattr(server, "Store", lambda _experiment: SimpleNamespace(uri="sqlite:////store.db"))
    monkeypatch.setattr(server, "find_version", lambda _store, *model_and_alias: registered.get(model_and_alias))
    return registered


def test_the_promoted_model_is_served_to_this_machine_only(
    versions: dict[tuple[str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(os, "execve", lambda *arguments: calls.append(arguments))
    versions["mnist", "champion"] = "1"
    server.serve(5001)
    ((program, command, environment),) = calls
    assert program == sys.executable
    assert " ".join(command[1:]) == (
        "-m mlflow models serve --model-uri models:/mnist@champion --env-manager local --host 127.0.0.1 --port 5001"
    )
    assert environment["MLFLOW_TRACKING_URI"] == "sqlite:////store.db"


@pytest.mark.usefixtures("versions")
def test_a_missing_promotion_is_named_with_the_remedy() -> None:
    message = r"^There is no mnist@champion yet\. Choose a run: image-classifier promote RUN$"
    with pytest.raises(InputError, match=message):
        server.serve(5001)
