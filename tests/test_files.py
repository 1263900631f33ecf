from pathlib import Path

import pytest

from image_classifier.errors import InputError
from image_classifier.files import atomic_write, file_hashes, read_text


def test_a_block_that_succeeds_replaces_the_file(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "new" / "a.csv") as temporary:
        temporary.write_text("complete")
    assert [(file.name, file.read_text()) for file in (tmp_path / "new").iterdir()] == [("a.csv", "complete")]


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("old")

    def fail() -> None:
        with atomic_write(tmp_path / "a.csv") as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.csv", "old")]


def test_the_temporary_file_has_the_suffix_that_decides_the_format(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "model.h5") as temporary:
        assert temporary.suffix == ".h5"
        temporary.touch()


def test_a_missing_file_has_no_hash(tmp_path: Path) -> None:
    (tmp_path / "empty.py").touch()
    assert file_hashes(tmp_path, ["empty.py", "gone.py"]) == {"empty.py": "d41d8cd98f00b204e9800998ecf8427e"}


def test_the_hash_of_a_folder_covers_paths_and_contents_and_leaves_out_compiled_code(tmp_path: Path) -> None:
    (tmp_path / "code/sub").mkdir(parents=True)
    (tmp_path / "code/sub/a.py").write_text("a = 1")
    before = file_hashes(tmp_path, ["code"])
    (tmp_path / "code/__pycache__").mkdir()
    (tmp_path / "code/__pycache__/a.pyc").touch()
    assert file_hashes(tmp_path, ["code"]) == before
    (tmp_path / "code/b.py").touch()
    assert file_hashes(tmp_path, ["code"]) != before


def test_a_text_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes("é".encode("latin-1"))
    with pytest.raises(InputError, match=r"a\.yaml is not UTF-8 \(.*, byte 0\)\. Save it as UTF-8\.$"):
        read_text(tmp_path / "a.yaml")
