import keras
import numpy as np
import pytest

from image_classifier.config.schema import Train
from image_classifier.dataset import Examples
from image_classifier.evaluate.metrics import evaluate
from image_classifier.train.model import build_model


@pytest.fixture(scope="module")
def model(train_config: Train) -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_model(**train_config.model.model_dump())


def test_loss_and_accuracy_equal_those_of_keras(model: keras.Model, examples: Examples) -> None:
    model.compile(loss="categorical_crossentropy", metrics=["accuracy"])
    loss, accuracy = model.evaluate(examples.images, keras.utils.to_categorical(examples.labels), verbose=0)
    metrics, _ = evaluate(model, "categorical_crossentropy", examples, batch_size=64)
    assert metrics["test_loss"] == pytest.approx(loss, rel=1e-5)
    assert metrics["test_accuracy"] == pytest.approx(accuracy)


def test_class_accuracies_weighted_by_class_size_give_the_accuracy(model: keras.Model, examples: Examples) -> None:
    metrics, _ = evaluate(model, "categorical_crossentropy", examples, batch_size=64)
    sizes = np.bincount(examples.labels, minlength=10)
    class_accuracy = list(metrics["class_accuracy"].values())
    assert np.average(class_accuracy, weights=sizes) == pytest.approx(metrics["test_accuracy"])


def test_the_probabilities_of_an_image_sum_to_1(model: keras.Model, examples: Examples) -> None:
    _, probabilities = evaluate(model, "categorical_crossentropy", examples, batch_size=64)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
