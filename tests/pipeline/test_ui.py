"""The MLflow UI in a real browser, on a store with the pipeline runs."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import CLI, RUNS, copy_project, started, wait_for_line
from playwright.sync_api import Browser, Page, expect
from servers import free_port, is_listening

from image_classifier import paths

CURVES = ("accuracy", "loss", "val_accuracy", "val_loss")


@pytest.fixture(scope="module")
def ui(request: pytest.FixtureRequest, chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page that `image-classifier ui` opens."""
    project = paths.ROOT
    if not request.config.getoption("screenshots"):
        project = tmp_path_factory.mktemp("ui") / "project"
        copy_project(request.getfixturevalue("repro_project"), project)
    with started(project, CLI, "ui", "--port", str(free_port())) as server:
        address = wait_for_line(server, "The runs: ").splitlines()[-1].removeprefix("The runs: ")
        page = chromium.new_page(viewport={"width": 1500, "height": 1000})
        page.goto(address)
        page.get_by_role("button", name="Close").click()  # the assistant
        yield page
        page.close()
        server.terminate()  # ends the server, which has a process group of its own
        server.wait(30)


def open_runs(page: Page, query: str = "viewStateShareKey=overview") -> None:
    address = f"{page.url.partition('#')[0]}#/experiments/1/runs?workflowType=machine_learning&{query}"
    page.goto("about:blank")  # the UI applies a view only when the page is loaded with its plain address
    page.goto(address)
    expect(page.get_by_role("link", name=RUNS[0], exact=True).first).to_be_visible(timeout=30_000)


def test_the_table_shows_what_distinguishes_the_runs(ui: Page, screenshots: Path) -> None:
    open_runs(ui)
    for column in ("Dataset", "optimizer", "batch_size", "epochs", "test_accuracy", "test_loss", "training_seconds"):
        expect(ui.get_by_role("columnheader", name=column, exact=True).first).to_be_visible(timeout=30_000)
    ui.screenshot(path=screenshots / "runs.png")


def test_the_charts_show_a_curve_for_each_run(ui: Page, screenshots: Path) -> None:
    open_runs(ui, "viewStateShareKey=overview&compareRunsMode=CHART")
    ui.get_by_placeholder("Search metric charts").fill(f"^({'|'.join(CURVES)})$")
    for curve in CURVES:
        for name in RUNS:
            expect(ui.get_by_text(f"{name} ({curve})", exact=True)).to_be_visible(timeout=30_000)
    charts = ui.locator(".js-plotly-plot")
    expect(charts).to_have_count(len(CURVES))
    for chart in charts.all():
        # Curves are told apart by their shapes: the UI may give two runs the same color
        drawn = "lines => new Set(lines.map(line => line.getAttribute('d')).filter(path => /[CL]/.test(path))).size"
        for _ in range(50):  # the legend can be there before the curves
            if chart.locator(".js-line").evaluate_all(drawn) >= len(RUNS):
                break
            ui.wait_for_timeout(200)
        assert chart.locator(".js-line").evaluate_all(drawn) >= len(RUNS)
    ui.get_by_placeholder("Search metric charts").fill("")
    expect(charts).to_have_count(len(CURVES) + 1)  # with the bars of test_accuracy
    expect(charts.first.locator(".bars path").first).to_be_visible()
    ui.mouse.move(0, 0)
    ui.screenshot(path=screenshots / "charts.png")


@pytest.mark.slow
def test_selected_runs_are_compared_by_their_differing_parameters(ui: Page, screenshots: Path) -> None:
    open_runs(ui)
    for name in RUNS:
        row = ui.get_by_role("row").filter(has=ui.get_by_role("link", name=name, exact=True)).first
        row.get_by_role("checkbox", name=re.compile("toggle row selection")).check()
    ui.get_by_role("button", name="Compare").first.click()
    expect(ui.get_by_text(f"Comparing {len(RUNS)} Runs from 1 Experiment")).to_be_visible(timeout=30_000)
    ui.get_by_role("switch").first.click()
    parameters = ui.get_by_role("row").filter(has_text="optimizer")
    expect(parameters).to_have_text(re.compile("optimizer.*SGD.*SGD.*Adadelta"))
    expect(ui.get_by_role("row").filter(has_text="batch_size")).to_have_text(re.compile("32.*128.*128"))
    expect(ui.get_by_role("row").filter(has_text="intra_op_threads")).to_have_count(0)  # the same in all
    expect(ui.locator(".parcoords")).to_be_visible()
    ui.get_by_text("Run details").evaluate("heading => heading.scrollIntoView()")
    ui.screenshot(path=screenshots / "comparison.png")


@pytest.mark.slow
def test_every_run_shows_its_description_and_its_predictions(ui: Page, screenshots: Path) -> None:
    for name in RUNS:
        open_runs(ui)
        ui.get_by_role("link", name=name, exact=True).first.click()
        expect(ui.get_by_text("Reproduce it:")).to_be_visible(timeout=30_000)
        ui.screenshot(path=screenshots / "run.png")
        ui.goto(f"{re.split('[?]', ui.url)[0].rstrip('/')}/artifacts/plots/predictions.png")
        picture = ui.locator("img[src*='blob'], img[src*='predictions']").first
        expect(picture).to_be_visible(timeout=30_000)
        assert picture.evaluate("image => image.naturalWidth") > 500


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_the_server_ends_with_the_command_and_without_a_traceback(
    project_copy: Path, number: signal.Signals, code: int
) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored, and children inherit it
    port = free_port()
    with started(project_copy, CLI, "ui", "--port", str(port)) as command:
        wait_for_line(command, "The runs: ")
        os.killpg(command.pid, number)  # as Ctrl-C in a terminal does
        rest, _ = command.communicate(timeout=60)
    assert command.returncode == code
    assert "Traceback" not in rest
    assert not is_listening(port)
