"""The page of `image-classifier errors` in a real browser."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers import CLI, RUNS, copy_project, run
from playwright.sync_api import Browser, Page, expect

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(repro_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the page."""
    project = tmp_path_factory.mktemp("errors") / "project"
    copy_project(repro_project, project)
    assert "Wrote reports/errors_mnist.html with " in run(project, CLI, "errors")
    return project


@pytest.fixture
def page(chromium: Browser, project: Path) -> Iterator[Page]:
    """The page on a small screen; it must not print errors or ask other hosts."""
    messages: list[str] = []
    page = chromium.new_page(viewport={"width": 360, "height": 740}, color_scheme="dark")
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: messages.append(request.url) if request.url.startswith("http") else None)
    page.goto((project / "reports/errors_mnist.html").as_uri())
    yield page
    page.close()
    assert messages == []


def count_pictures(page: Page) -> int:
    return page.locator("#cards button").count()


def test_the_counts_are_those_of_mcnemar_s_tests(project: Path, page: Page) -> None:
    report = json.loads((project / "reports/comparison_mnist.json").read_text())
    for test in report["paired_tests"]:
        for right, wrong, count in (
            (test["first"], test["second"], test["only_first"]),
            (test["second"], test["first"], test["only_second"]),
        ):
            page.get_by_label("Wrong answers of").select_option(f"{wrong}, right in {right}")
            assert count_pictures(page) == count


def test_the_mistakes_of_a_run_are_its_test_errors(project: Path, page: Page) -> None:
    report = json.loads((project / "reports/comparison_mnist.json").read_text())
    for name in RUNS:
        page.get_by_label("Wrong answers of").select_option(name)
        accuracy = report["runs"][name]["test_accuracy"]["value"]
        assert count_pictures(page) == round((1 - accuracy) * report["test_examples"])


def test_the_filter_for_disputed_labels_selects_what_all_runs_contradict_alike(project: Path, page: Page) -> None:
    labels, answers, confidences = np.empty(0), [], []
    for name in RUNS:
        with np.load(project / f"runs/mnist/{name}/predictions.npz") as predictions:
            labels, probabilities = predictions["labels"], predictions["probabilities"]
            answers.append(probabilities.argmax(axis=1))
            confidences.append(probabilities.max(axis=1))
    alike = (np.array(answers) == answers[0]).all(axis=0) & (answers[0] != labels)
    option = "disputed label: all runs give one other class, with 90% or more"
    page.get_by_label("Wrong answers of").select_option(option)
    assert count_pictures(page) == (alike & (np.min(confidences, axis=0).round(4) >= 0.9)).sum()


def test_the_classes_filter_the_pictures(page: Page) -> None:
    everything = count_pictures(page)
    parts = []
    for label in "0123456789":
        page.get_by_label("True class").select_option(label)
        parts.append(count_pictures(page))
    assert sum(parts) == everything


def test_a_picture_opens_with_the_answers_of_all_runs_and_the_arrow_keys_turn_the_pages(page: Page) -> None:
    page.locator("#cards button").first.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("tbody tr")).to_have_count(len(RUNS))
    first = dialog.get_by_role("heading").inner_text()
    page.keyboard.press("ArrowRight")
    expect(dialog.get_by_role("heading")).not_to_have_text(first)
    page.keyboard.press("ArrowLeft")
    expect(dialog.get_by_role("heading")).to_have_text(first)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.locator("#cards button").first).to_be_focused()


def test_the_occlusion_map_is_that_of_the_chosen_run(page: Page) -> None:
    page.locator("#cards button").first.click()
    dialog = page.get_by_role("dialog")
    pictures = set()
    for name in RUNS:
        dialog.get_by_role("button", name=name).click()
        expect(dialog.get_by_role("button", name=name)).to_have_attribute("aria-pressed", "true")
        expect(dialog.locator("#legend")).to_contain_text(f"the answer of {name} (")
        pictures.add(dialog.locator("canvas").evaluate("canvas => canvas.toDataURL()"))
    assert len(pictures) > 1


def test_the_page_fits_a_small_screen(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
