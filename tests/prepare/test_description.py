import pytest

from image_classifier.dataset import Arrays
from image_classifier.prepare.description import describe_dataset
from image_classifier.prepare.validation import select_examples


def test_the_description_agrees_with_numpy(raw: Arrays) -> None:
    prepared = select_examples(raw, train_examples=300, test_examples=200)
    described = describe_dataset(prepared)["test"]
    images, labels = prepared["test_images"], prepared["test_labels"]
    assert described["examples"] == 200
    assert described["pixel_mean"] == pytest.approx(images.mean(), abs=1e-4)
    assert described["pixel_standard_deviation"] == pytest.approx(images.std(), abs=1e-4)
    assert described["examples_per_class"] == {label: int((labels == label).sum()) for label in range(10)}
