from pathlib import Path

import numpy as np
import pytest

from image_classifier.errors import InputError
from image_classifier.train.checkpoint import TrainingState, load_checkpoint, write_checkpoint

ORIGIN = {"configuration": "seed: 42", "data.npz": "0123", "processor": "Zen 4"}
ROWS = ({"loss": 0.1 + 0.2, "val_accuracy": 1 / 3, "seconds": 20.5},)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoints" / "run.checkpoint"
    weights = np.linspace(0, 1, 1000, dtype=np.float32).reshape(10, 100)
    write_checkpoint(path, ORIGIN, TrainingState(30, 1.5, ROWS, (weights, np.array(7)), (np.array(0.3, np.float32),)))
    return path


def test_a_loaded_checkpoint_equals_the_written_state_to_the_bit(file: Path) -> None:
    state = load_checkpoint(file, ORIGIN)
    assert (state.steps, state.seconds, state.rows) == (30, 1.5, ROWS)
    assert state.variables[0].tobytes() == np.linspace(0, 1, 1000, dtype=np.float32).tobytes()
    assert [array.dtype for array in (*state.variables, *state.metrics)] == ["float32", "int64", "float32"]


def test_without_a_checkpoint_the_state_is_the_initial_one(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "none.checkpoint", ORIGIN) == TrainingState()


def test_the_order_of_more_than_ten_variables_is_kept(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "run.checkpoint", ORIGIN, TrainingState(variables=tuple(np.arange(12))))
    assert [int(value) for value in load_checkpoint(tmp_path / "run.checkpoint", ORIGIN).variables] == list(range(12))


def test_any_changed_byte_is_found(file: Path) -> None:
    content = file.read_bytes()
    for position in range(0, len(content), 7):
        file.write_bytes(content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :])
        with pytest.raises(InputError, match=rf"^{file} is damaged$"):
            load_checkpoint(file, ORIGIN)


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
def test_a_torn_file_is_named(file: Path, share: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match=rf"^{file} is damaged"):
        load_checkpoint(file, ORIGIN)


def test_another_file_of_numpy_is_named(tmp_path: Path) -> None:
    with (tmp_path / "run.checkpoint").open("wb") as file:
        np.savez(file, images=np.zeros(3))
    with pytest.raises(InputError, match="is damaged"):
        load_checkpoint(tmp_path / "run.checkpoint", ORIGIN)


def test_the_checkpoint_of_another_training_is_refused_and_the_differences_are_named(file: Path) -> None:
    with pytest.raises(InputError, match=r"belongs to a training with another data\.npz, processor, version$"):
        load_checkpoint(file, {"configuration": "seed: 42", "data.npz": "4567", "version": "2"})
