from pathlib import Path

import numpy as np
import pytest

from image_classifier.config.schema import Train
from image_classifier.dataset import Examples, scale_pixels
from image_classifier.errors import InputError
from image_classifier.evaluate.saved_model import load_model
from image_classifier.train.model import build_model


def test_a_loaded_model_predicts_the_same(train_config: Train, examples: Examples, tmp_path: Path) -> None:
    settings, data = train_config.model, train_config.data
    model = build_model(settings.name, settings.layers, data.image_shape, len(data.classes))
    model.save(tmp_path / "model.h5")
    loaded = load_model(tmp_path / "model.h5")
    images = scale_pixels(examples.images)
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), model.predict(images, verbose=0))


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model\.h5"):
        load_model(tmp_path / "model.h5")


def test_a_file_that_is_not_a_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.h5").write_bytes(b"not a model")
    with pytest.raises(InputError, match=r"model\.h5 is not a Keras model"):
        load_model(tmp_path / "model.h5")
