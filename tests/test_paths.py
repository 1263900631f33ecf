from pathlib import Path

import pytest

from image_classifier import paths
from image_classifier.errors import InputError


@pytest.mark.parametrize("file", ["model.h5", "metrics.json"])
def test_a_training_does_not_mix_its_files_with_results_of_another(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    folder = paths.new_adhoc_run("mine").directory
    folder.mkdir(parents=True)
    (folder / file).touch()
    with pytest.raises(InputError, match=r"^outputs/mine/ has results already\. Choose another run=…, or remove"):
        paths.new_adhoc_run("mine")
