from pathlib import Path

import numpy as np
import pytest

from mnist_cnn import checkpoint
from mnist_cnn.checkpoint import Progress
from mnist_cnn.errors import InputError

ORIGIN = {"configuration": "seed: 42", "data.npz": "0123", "processor": "Zen 4"}
ROWS = ({"loss": 0.1 + 0.2, "val_accuracy": 1 / 3, "seconds": 20.5},)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoints" / "run.checkpoint"
    weights = np.linspace(0, 1, 1000, dtype=np.float32).reshape(10, 100)
    checkpoint.write(path, ORIGIN, Progress(30, 1.5, ROWS, (weights, np.array(7)), (np.array(0.3, np.float32),)))
    return path


def test_progress_is_read_as_it_was_written_to_the_bit(file: Path) -> None:
    progress = checkpoint.read(file, ORIGIN)
    assert (progress.steps, progress.seconds, progress.rows) == (30, 1.5, ROWS)
    assert progress.variables[0].tobytes() == np.linspace(0, 1, 1000, dtype=np.float32).tobytes()
    assert [array.dtype for array in (*progress.variables, *progress.measured)] == ["float32", "int64", "float32"]


def test_without_a_checkpoint_there_is_no_progress(tmp_path: Path) -> None:
    assert checkpoint.read(tmp_path / "none.checkpoint", ORIGIN) == Progress()


def test_the_order_of_more_than_ten_variables_is_kept(tmp_path: Path) -> None:
    checkpoint.write(tmp_path / "run.checkpoint", ORIGIN, Progress(variables=tuple(np.arange(12))))
    assert [int(value) for value in checkpoint.read(tmp_path / "run.checkpoint", ORIGIN).variables] == list(range(12))


def test_any_changed_byte_is_found(file: Path) -> None:
    content = file.read_bytes()
    for position in range(len(content)):
        file.write_bytes(content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :])
        with pytest.raises(InputError, match=rf"^{file} is damaged$"):
            checkpoint.read(file, ORIGIN)


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
def test_a_torn_file_is_named(file: Path, share: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match=rf"^{file} is damaged"):
        checkpoint.read(file, ORIGIN)


def test_another_file_of_numpy_is_named(tmp_path: Path) -> None:
    with (tmp_path / "run.checkpoint").open("wb") as file:
        np.savez(file, images=np.zeros(3))
    with pytest.raises(InputError, match="is damaged"):
        checkpoint.read(tmp_path / "run.checkpoint", ORIGIN)


def test_the_checkpoint_of_another_training_is_refused_with_what_differs(file: Path) -> None:
    with pytest.raises(InputError, match=r"belongs to a training with another data\.npz, processor, version$"):
        checkpoint.read(file, {"configuration": "seed: 42", "data.npz": "4567", "version": "2"})
