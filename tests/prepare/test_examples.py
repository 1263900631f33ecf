import numpy as np
import pytest

from image_classifier.dataset import Arrays
from image_classifier.errors import InputError
from image_classifier.prepare.examples import describe_dataset, select_examples


def test_preparing_keeps_the_first_examples_and_adds_a_channel(raw: Arrays) -> None:
    prepared = select_examples(raw, train_examples=300, test_examples=200)
    assert prepared["train_images"].shape == (300, 28, 28, 1)
    np.testing.assert_array_equal(prepared["test_images"][..., 0], raw["test_images"][:200])
    np.testing.assert_array_equal(prepared["test_labels"], raw["test_labels"][:200])


@pytest.mark.parametrize(("train", "test", "named"), [(5, 200, "train_examples=5"), (300, 20, "test_examples=20")])
def test_a_missing_class_among_the_selected_examples_is_refused(raw: Arrays, train: int, test: int, named: str) -> None:
    with pytest.raises(InputError, match=rf"^data\.{named}: no image has the classes \{{.*\}}\. Choose a greater"):
        select_examples(raw, train, test)


def test_the_description_agrees_with_numpy(raw: Arrays) -> None:
    prepared = select_examples(raw, train_examples=300, test_examples=200)
    described = describe_dataset(prepared)["test"]
    images, labels = prepared["test_images"], prepared["test_labels"]
    assert described["examples"] == 200
    assert described["pixel_mean"] == pytest.approx(images.mean(), abs=1e-4)
    assert described["pixel_standard_deviation"] == pytest.approx(images.std(), abs=1e-4)
    assert described["examples_per_class"] == {label: int((labels == label).sum()) for label in range(10)}
