"""The page of `image-classifier serve` in a real browser, which draws with the mouse."""

import json
import math
import urllib.request
from base64 import b64decode
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fastapi import FastAPI
from helpers import CLI, RUNS, copy_project, run, started, wait_for_line
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect
from servers import free_port, serving

from image_classifier import paths
from image_classifier.evaluate.calibration import UNCALIBRATED, Calibration
from image_classifier.fetch.pictures import PictureTask
from image_classifier.serve import server

pytestmark = pytest.mark.slow
expect.set_options(timeout=30_000)
Stroke = list[tuple[float, float]]  # points of a stroke: shares of the board's width, from the left and from the top


def arc(x: float, y: float, radius: float, start: float, end: float) -> Stroke:
    """Return a part of a circle; the angles are in degrees, clockwise from the right."""
    angles = [math.radians(start + (end - start) * part / 48) for part in range(49)]
    return [(x + radius * math.cos(angle), y + radius * math.sin(angle)) for angle in angles]


DIGITS: dict[str, list[Stroke]] = {
    "0": [arc(0.5, 0.5, 0.25, -90, 270)],
    "4": [[(0.42, 0.18), (0.3, 0.56), (0.72, 0.56)], [(0.62, 0.34), (0.6, 0.84)]],
    "7": [[(0.3, 0.2), (0.7, 0.2), (0.45, 0.82)]],
    "8": [arc(0.5, 0.34, 0.14, 90, -270) + arc(0.5, 0.66, 0.18, -90, 270)],
}
TRANSFER = """([content, way]) => {
    const files = new DataTransfer();
    files.items.add(new File([new Uint8Array(content)], "digit.png"));
    const options = { dataTransfer: files, clipboardData: files, bubbles: true };
    document.body.dispatchEvent(way === "drop" ? new DragEvent(way, options) : new ClipboardEvent(way, options));
}"""


@pytest.fixture(scope="module")
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a promoted run."""
    if request.config.getoption("screenshots"):
        return paths.ROOT
    project = tmp_path_factory.mktemp("page") / "project"
    copy_project(request.getfixturevalue("repro_project"), project)
    run(project, CLI, "promote", "adadelta_128")
    return project


@pytest.fixture(scope="module")
def address(project: Path) -> Iterator[str]:
    """Address of the server."""
    with started(project, CLI, "serve", "--port", str(free_port())) as server:
        yield wait_for_line(server, "Draw a picture: ").splitlines()[-1].removeprefix("Draw a picture: ")


@pytest.fixture
def open_page(chromium: Browser, address: str) -> Iterator[Callable[..., Page]]:
    """Open the page in a browser window; check that it sent nothing to other hosts and printed no error."""
    pages, requests, messages = [], [], []

    def open_page(width: int = 1100, height: int = 900, **options: Any) -> Page:
        page = chromium.new_page(viewport={"width": width, "height": height}, **options)
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.goto(address)
        expect(page.get_by_role("heading", name=RUNS[0], exact=True)).to_be_visible()
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert [url for url in requests if not url.startswith((f"{address}/", "data:"))] == []
    assert messages == []


def draw(page: Page, strokes: list[Stroke]) -> None:
    board = page.get_by_role("img", name="Drawing board").bounding_box()
    assert board
    for stroke in strokes:
        points = [(board["x"] + x * board["width"], board["y"] + y * board["height"]) for x, y in stroke]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point)
        page.mouse.up()


def read_board(page: Page) -> bytes:
    """Return the drawing as a PNG file."""
    return b64decode(page.locator("canvas").evaluate("board => board.toDataURL()").partition(",")[2])


def post(url: str, body: bytes, content: str) -> Any:
    request = urllib.request.Request(url, body, {"Content-Type": content})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def classify(address: str, picture: bytes) -> Any:
    """Return the server's answer for a picture file."""
    return post(f"{address}/picture", picture, "image/png")


def expect_shown(page: Page, answer: Any) -> None:
    """Wait until the page shows an answer of the server: for each run, the class and all probabilities."""
    for model in answer["models"]:
        probabilities = model["probabilities"]
        best = max(probabilities, key=probabilities.__getitem__)
        card = page.locator("article").filter(has=page.get_by_role("heading", name=model["name"], exact=True))
        expect(card.locator(".answer")).to_have_text(f"{best} {probabilities[best]:.1%}")
        expect(card.locator(".probability")).to_have_text([f"{value:.1%}" for value in probabilities.values()])
    expect(page.locator("#seen")).to_have_attribute("src", answer["image"])


def expect_empty(page: Page) -> None:
    expect(page.get_by_text("Draw here")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("?")
    assert not np.asarray(Image.open(BytesIO(read_board(page))).convert("L")).any()


def test_a_drawing_has_the_answer_of_predict_and_of_invocations(
    open_page: Callable[..., Page], project: Path, address: str, tmp_path: Path, screenshots: Path
) -> None:
    page = open_page()
    answers: list[Any] = []
    for strokes in DIGITS.values():
        page.get_by_role("button", name="Clear").click()
        draw(page, strokes)
        picture = read_board(page)
        (tmp_path / f"{len(answers)}.png").write_bytes(picture)
        answers.append(classify(address, picture))
        expect_shown(page, answers[-1])
    page.mouse.move(0, 0)
    page.screenshot(path=screenshots / "page.png", full_page=True)
    (champion,) = {answer["models"][0]["name"] for answer in answers}
    shown = [[model["probabilities"] for model in answer["models"] if model["champion"]] for answer in answers]
    run(project, CLI, "predict", champion, str(tmp_path), "--output", str(tmp_path / "predictions.csv"))
    for (probabilities,), row in zip(shown, pd.read_csv(tmp_path / "predictions.csv").to_dict("records"), strict=True):
        assert row["probability"] == pytest.approx(max(probabilities.values()), abs=1e-5)
        assert row["second_probability"] == pytest.approx(probabilities[str(row["second_class"])], abs=1e-5)
    seen = [Image.open(BytesIO(b64decode(answer["image"].partition(",")[2]))) for answer in answers]
    images = np.stack([np.asarray(image) for image in seen])[..., np.newaxis] / 255
    inputs = json.dumps({"inputs": images.tolist()}).encode()
    predictions = post(f"{address}/invocations", inputs, "application/json")["predictions"]
    np.testing.assert_allclose(predictions, [list(values.values()) for (values,) in shown], atol=1e-5)


def test_the_page_shows_the_champion_first_and_then_all_other_runs(
    open_page: Callable[..., Page], address: str
) -> None:
    with urllib.request.urlopen(f"{address}/models") as answer:
        models = json.load(answer)["models"]
    assert [model["champion"] for model in models] == [True] + [False] * (len(models) - 1)
    names = [model["name"] for model in models]
    assert set(RUNS) <= set(names)
    assert open_page().get_by_role("heading", level=3).all_text_contents() == names


def test_a_drawing_is_undone_and_cleared_with_the_keyboard(open_page: Callable[..., Page], address: str) -> None:
    page = open_page()
    expect_empty(page)
    first, second = DIGITS["4"]
    draw(page, [first])
    one = read_board(page)
    draw(page, [second])
    two = read_board(page)
    assert one != two
    page.keyboard.press("Control+z")
    expect_shown(page, classify(address, one))
    page.keyboard.press("Escape")
    expect_empty(page)
    page.keyboard.press("Control+z")
    expect_shown(page, classify(address, one))
    page.keyboard.press("Control+z")
    expect_empty(page)


def test_every_control_is_reached_with_the_tab_key_and_shows_the_focus(open_page: Callable[..., Page]) -> None:
    page = open_page()
    reached = []
    for _ in range(3):
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        reached.append(focused.get_attribute("id"))
        ring = "element => getComputedStyle(element.closest('button, .button')).outlineStyle"
        assert focused.evaluate(ring) == "solid"
    assert reached == ["undo", "clear", "file"]


@pytest.mark.parametrize("way", ["choose", "drop", "paste"])
def test_a_picture_file_has_the_answer_of_the_server(
    open_page: Callable[..., Page], address: str, tmp_path: Path, way: str
) -> None:
    page, path = open_page(), tmp_path / "digit.png"
    draw(page, DIGITS["7"])
    Image.open(BytesIO(read_board(page))).resize((90, 120)).save(path)
    if way == "choose":
        page.get_by_label("Choose a file").set_input_files(path)
    else:
        page.evaluate(TRANSFER, [list(path.read_bytes()), way])
    expect_shown(page, classify(address, path.read_bytes()))


def test_an_unusable_file_is_named_in_one_line_until_the_next_drawing(
    chromium: Browser, address: str, tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text("text")
    page = chromium.new_page()  # it prints the status of the refusal
    page.goto(address)
    page.get_by_label("Choose a file").set_input_files(tmp_path / "text.txt")
    error = page.get_by_role("alert")
    expect(error).to_contain_text("not a picture in one of the formats ")
    draw(page, DIGITS["0"])
    expect_shown(page, classify(address, read_board(page)))
    expect(error).to_have_text("")
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_everything_within_its_width(open_page: Callable[..., Page], address: str, scheme: str) -> None:
    page = open_page(360, 740, color_scheme=scheme, has_touch=True)
    board = page.get_by_role("img", name="Drawing board").bounding_box()
    assert board
    page.touchscreen.tap(board["x"] + 100, board["y"] + 100)
    expect_shown(page, classify(address, read_board(page)))
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    bright = page.locator("body").evaluate("body => getComputedStyle(body).color") == "rgb(236, 238, 242)"
    assert bright == (scheme == "dark")


def application_of_pets() -> FastAPI:
    """Two runs whose probability of a dog is the brightness; the first one is sure from 0.9."""
    model = SimpleNamespace(
        input_shape=(None, 2, 2, 1),
        output_shape=(None, 2),
        predict_on_batch=lambda images: np.array([[1 - images.max(), images.max()]]),
    )
    other = SimpleNamespace(**vars(model))
    runs = [("careful", model, Calibration(1.0, 0.9)), ("always", other, UNCALIBRATED)]
    return server.make_application(runs, PictureTask("pets", ("cat", "dog"), (2, 2, 1), "stretch"))


def test_a_picture_that_is_chosen_before_the_models_are_known_is_classified(chromium: Browser, tmp_path: Path) -> None:
    Image.new("L", (2, 2), 255).save(tmp_path / "picture.png")
    page = chromium.new_page()
    requests: list[Route] = []

    def hold(route: Route) -> None:
        requests.append(route)

    page.route("**/models", hold)
    with serving(application_of_pets()) as port:
        with page.expect_request("**/models"):
            page.goto(f"http://127.0.0.1:{port}", wait_until="commit")
        page.get_by_label("Choose a file").set_input_files(tmp_path / "picture.png")
        requests[0].continue_()
        expect(page.locator("#champion .answer")).to_have_text("dog 100.0%")
        page.close()


def test_a_model_below_its_threshold_is_not_sure_and_its_probabilities_are_shown(
    chromium: Browser, tmp_path: Path
) -> None:
    page = chromium.new_page()
    with serving(application_of_pets()) as port:
        page.goto(f"http://127.0.0.1:{port}")
        for level, champion, run_name in ((179, "not sure dog: 70.2%", "dog 70.2%"), (255, "dog 100.0%", "dog 100.0%")):
            Image.new("L", (2, 2), level).save(tmp_path / "picture.png")
            page.get_by_label("Choose a file").set_input_files(tmp_path / "picture.png")
            expect(page.locator("#champion .answer")).to_have_text(champion)
            expect(page.locator("#others .answer")).to_have_text(run_name)
            expect(page.locator("#champion .probability").last).to_have_text(run_name.partition(" ")[2])
        page.get_by_role("button", name="Clear").click()
        expect(page.locator("#champion .answer")).to_have_text("?")
        page.close()
