from pathlib import Path

import pytest

from mnist_cnn.paths import replacing


def test_a_block_that_succeeds_replaces_the_file(tmp_path: Path) -> None:
    with replacing(tmp_path / "new" / "a.csv") as temporary:
        temporary.write_text("complete")
    assert [(file.name, file.read_text()) for file in (tmp_path / "new").iterdir()] == [("a.csv", "complete")]


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("old")

    def fail() -> None:
        with replacing(tmp_path / "a.csv") as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.csv", "old")]


def test_the_temporary_file_keeps_the_suffix_by_which_libraries_choose_a_format(tmp_path: Path) -> None:
    with replacing(tmp_path / "model.h5") as temporary:
        assert temporary.suffix == ".h5"
        temporary.touch()
