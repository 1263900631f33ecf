import keras
import numpy as np
import pytest

from image_classifier.config.schema import Train
from image_classifier.dataset import Examples, scale_pixels
from image_classifier.evaluate.metrics import evaluate, predict
from image_classifier.train.model import build_model


@pytest.fixture(scope="module")
def model(train_config: Train) -> keras.Model:
    keras.utils.set_random_seed(0)
    model, data = train_config.model, train_config.data
    return build_model(model.name, model.layers, data.image_shape, len(data.classes))


def test_loss_and_accuracy_equal_those_of_keras(model: keras.Model, examples: Examples) -> None:
    model.compile(loss="categorical_crossentropy", metrics=["accuracy"])
    images, targets = scale_pixels(examples.images), keras.utils.to_categorical(examples.labels)
    loss, accuracy = model.evaluate(images, targets, verbose=0)
    metrics, _ = evaluate(model, "categorical_crossentropy", examples, batch_size=64)
    assert metrics["test_loss"] == pytest.approx(loss, rel=1e-5)
    assert metrics["test_accuracy"] == pytest.approx(accuracy)


def test_the_probabilities_of_an_image_sum_to_1(model: keras.Model, examples: Examples) -> None:
    _, probabilities = evaluate(model, "categorical_crossentropy", examples, batch_size=64)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("batch_size", [64, 200, 500])  # 64 does not divide the 200 images
def test_predictions_have_the_bits_of_keras(model: keras.Model, examples: Examples, batch_size: int) -> None:
    expected = model.predict(scale_pixels(examples.images), batch_size=batch_size, verbose=0)
    np.testing.assert_array_equal(predict(model, examples.images, batch_size), expected, strict=True)
