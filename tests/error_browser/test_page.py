import json
import re
from base64 import b64decode
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from image_classifier.dataset import Examples
from image_classifier.error_browser import page
from image_classifier.error_browser.page import make_atlas, make_page, rank_misclassified


class Model:
    """A model that is sure of the first class."""

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        return np.tile([1.0, 0.0], (len(images), 1))


def read_values(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    values: dict[str, Any] = json.loads(found[1])
    return values


def examples(classes: tuple[str, str] = ("cat", "dog")) -> Examples:
    images = np.arange(3 * 4 * 6, dtype=np.uint8).reshape(3, 4, 6, 1)
    return Examples(images, np.array([0, 1, 1]), classes)


PROBABILITIES = {"a": np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]])}  # wrong in 1


def test_images_that_some_run_gets_wrong_are_ranked_and_those_of_most_runs_come_first() -> None:
    first = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.2, 0.8]])  # wrong in 1 and 3
    second = np.array([[0.9, 0.1], [0.1, 0.9], [0.7, 0.3], [0.4, 0.6]])  # wrong in 2 and 3
    ranked = rank_misclassified(np.array([0, 1, 1, 0]), {"a": first, "b": second})
    assert ranked.tolist() == [3, 2, 1]  # in 2 the runs give the true class 0.45 on average, in 1 0.55


def test_runs_without_mistakes_give_no_images() -> None:
    assert len(rank_misclassified(np.array([0, 1]), {"a": np.eye(2)})) == 0


def test_accuracies_are_those_on_all_test_images() -> None:
    text, _, _ = make_page("pets", examples(), PROBABILITIES, [("a", Model())], ())
    assert read_values(text)["accuracies"] == {"a": pytest.approx(2 / 3)}


def test_the_page_has_the_answers_of_each_run_and_the_numbers_of_images() -> None:
    text, shown, mistakes = make_page("pets", examples(), PROBABILITIES, [("a", Model())], ())
    values = read_values(text)
    assert (shown, mistakes, values["tests"], values["indexes"], values["labels"]) == (1, 1, 3, [1], [1])
    ((answer, probability, of_truth, occlusion),) = values["answers"]["a"]
    assert (answer, probability, of_truth) == (0, 0.8, 0.2)
    assert len(b64decode(occlusion)) == 49


def test_the_page_has_the_file_of_each_image_if_there_are_files() -> None:
    pages = [make_page("pets", examples(), PROBABILITIES, [("a", Model())], names)[0] for names in ((), "xyz")]
    assert [read_values(page)["names"] for page in pages] == [[], ["y"]]


def test_the_atlas_has_the_pictures_side_by_side() -> None:
    values = read_values(make_page("pets", examples(), PROBABILITIES, [("a", Model())], ())[0])
    atlas = np.asarray(Image.open(BytesIO(b64decode(values["atlas"].partition(",")[2]))))
    np.testing.assert_array_equal(atlas[:4, :6], examples().images[1, ..., 0])
    assert values["aspect"] == 1.5


def test_a_page_without_mistakes_can_be_made() -> None:
    _, shown, mistakes = make_page("pets", examples(), {"a": np.eye(2)[[0, 1, 1]]}, [("a", Model())], ())
    assert (shown, mistakes) == (0, 0)


def test_names_of_classes_cannot_end_the_script() -> None:
    text = make_page("pets", examples(("</script><b>", "dog")), PROBABILITIES, [("a", Model())], ())[0]
    assert read_values(text)["classes"] == ["</script><b>", "dog"]


def test_pictures_beyond_the_limit_of_the_page_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (200, 16, 16, 3), np.uint8)
    monkeypatch.setattr(page, "MAX_BYTES", 100_000)
    atlas, count = make_atlas(images, entries=2)
    assert 50 < count < 120  # a picture has 768 bytes
    assert 4 / 3 * len(atlas) + 2 * count * page.BYTES_PER_ANSWER <= page.MAX_BYTES


def test_the_page_needs_no_other_address() -> None:
    text = make_page("pets", examples(), PROBABILITIES, [("a", Model())], ())[0]
    assert not re.search(r"https?://|\bsrc=|<link rel=\"stylesheet\"", text)
