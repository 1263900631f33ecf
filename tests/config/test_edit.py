from pathlib import Path

import pytest

from image_classifier import paths
from image_classifier.config.compose import load_params
from image_classifier.config.edit import add_to_params, check_new_name
from image_classifier.config.schema import DatasetEntry, Row
from image_classifier.errors import InputError

ROW = Row(data="pets", model="cnn", optimizer="adam", batch_size=64, epochs=3, training="default")
TEXT = """\
# The data sets
datasets:
  mnist: {path: conf/data/mnist.yaml}

# The runs
runs:
  # The first one
  sgd_32: {data: mnist, model: cnn, optimizer: sgd, batch_size: 32, epochs: 10, training: default}  # slow
  fast: {data: mnist, model: cnn, optimizer: nadam, batch_size: 128, epochs: 2, training: fast}
"""


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "params.yaml"
    file.write_text(TEXT)
    monkeypatch.setattr(paths, "PARAMS", file)
    return file


def test_a_data_set_and_a_run_are_added_and_all_comments_are_kept(params: Path) -> None:
    add_to_params(datasets={"pets": DatasetEntry(path="/data/pets")}, runs={"pets": ROW})
    added = "  pets: {data: pets, model: cnn, optimizer: adam, batch_size: 64, epochs: 3, training: default}\n"
    digits = "  mnist: {path: conf/data/mnist.yaml}\n"
    assert params.read_text() == TEXT.replace(digits, f"{digits}  pets: {{path: /data/pets}}\n") + added


@pytest.mark.usefixtures("params")
def test_a_run_alone_changes_no_data_set() -> None:
    add_to_params(runs={"more": ROW.model_copy(update={"data": "mnist"})})
    assert list(load_params().datasets) == ["mnist"]
    assert list(load_params().runs) == ["sgd_32", "fast", "more"]


@pytest.mark.usefixtures("params")
@pytest.mark.parametrize("path", ["/data/my pets: #1, {all}", "/data/" + "long name " * 20 + "end", "/data/größe"])
def test_every_path_is_read_as_it_was_written(path: str) -> None:
    add_to_params(datasets={"pets": DatasetEntry(path=path)}, runs={"pets": ROW})
    assert load_params().datasets["pets"].path == path


@pytest.mark.parametrize("name", ["pets", "pets-2", "_", "101_dogs", "x" * 100])
def test_a_new_name_is_accepted(name: str) -> None:
    check_new_name(name)


@pytest.mark.parametrize("name", ["", "-pets", "my pets", "a/b", "../x", "größe", "x" * 101, "pets\n"])
def test_a_name_that_no_file_and_no_command_line_can_have_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"^NAME=(?s:.*): should have at most 100 letters, digits, _ and -") as raised:
        check_new_name(name)
    assert str(raised.value).startswith(f"NAME={name}: ")


@pytest.mark.parametrize("name", ["on", "No", "true", "null", "12", "1e5"])
def test_a_name_that_yaml_reads_as_another_value_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=rf"^NAME={name}: should not be a number or a word such as on, no, true"):
        check_new_name(name)
