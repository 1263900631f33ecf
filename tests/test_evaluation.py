from pathlib import Path

import keras
import numpy as np
import pytest

from mnist_cnn import evaluation, model
from mnist_cnn.dataset import Examples
from mnist_cnn.errors import InputError
from mnist_cnn.schema import Train


@pytest.fixture(scope="module")
def network(train_config: Train) -> keras.Model:
    keras.utils.set_random_seed(0)
    return model.build(**train_config.model.model_dump())


def test_loss_and_accuracy_are_those_that_keras_measures(network: keras.Model, examples: Examples) -> None:
    network.compile(loss="categorical_crossentropy", metrics=["accuracy"])
    loss, accuracy = network.evaluate(examples.images, keras.utils.to_categorical(examples.labels), verbose=0)
    result = evaluation.evaluate(network, "categorical_crossentropy", examples, batch_size=64)
    assert result.loss == pytest.approx(loss, rel=1e-5)
    assert result.accuracy == pytest.approx(accuracy)


def test_class_accuracies_weighted_by_class_size_give_the_accuracy(network: keras.Model, examples: Examples) -> None:
    result = evaluation.evaluate(network, "categorical_crossentropy", examples, batch_size=64)
    sizes = np.bincount(examples.labels, minlength=10)
    assert np.average(result.class_accuracy, weights=sizes) == pytest.approx(result.accuracy)


def test_the_probabilities_of_an_image_sum_to_1(network: keras.Model, examples: Examples) -> None:
    result = evaluation.evaluate(network, "categorical_crossentropy", examples, batch_size=64)
    np.testing.assert_allclose(result.probabilities.sum(axis=1), 1, rtol=1e-5)


def test_a_saved_model_predicts_the_same_when_it_is_loaded(
    network: keras.Model, examples: Examples, tmp_path: Path
) -> None:
    network.save(tmp_path / "model.h5")
    loaded = evaluation.load_model(tmp_path / "model.h5")
    np.testing.assert_array_equal(
        loaded.predict(examples.images, verbose=0), network.predict(examples.images, verbose=0)
    )


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model\.h5"):
        evaluation.load_model(tmp_path / "model.h5")


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.h5").write_bytes(b"half a model")
    with pytest.raises(InputError, match=r"model\.h5 is not a Keras model"):
        evaluation.load_model(tmp_path / "model.h5")
