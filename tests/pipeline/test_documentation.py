"""The commands of README.md and docs/, typed in the order of each page into a project of few images."""

import math
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
from helpers import run

from image_classifier import paths

PAGES = ["README.md", *sorted(f"docs/{page.name}" for page in (paths.ROOT / "docs").glob("*.md"))]
# A console block, and the comment in the line before it that gives the reason why its commands are not run.
BLOCK = re.compile(r"(?:^<!-- not run: (?P<reason>.+) -->\n)?^```console\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = ("cog", "dvc", "git", "image-classifier", "mlflow", "pytest", "python", "ray")


class Command(NamedTuple):
    """A command of a page.

    Attributes:
        line: Text after the prompt, with its continuation lines.
        fails: Whether the page shows an error as its output.
        is_run: Whether the page does not exclude it.
    """

    line: str
    fails: bool
    is_run: bool


def commands(text: str) -> list[Command]:
    """Return the commands of the console blocks of a page."""
    found = []
    for block in BLOCK.finditer(text):
        for entry in re.split(r"^\$ ", block["text"], flags=re.MULTILINE)[1:]:
            line, _, output = entry.replace("\\\n", " ").partition("\n")
            found.append(Command(line, output.startswith("Error: "), block["reason"] is None))
    return found


def test_commands_are_found_with_their_continuation_lines_and_errors() -> None:
    text = (
        "```console\n$ a \\\n    b\nprinted\n$ c\nError: no\n```\n\n<!-- not run: it waits -->\n```console\n$ d\n```\n"
    )
    assert commands(text) == [Command("a      b", False, True), Command("c", True, True), Command("d", False, False)]


@pytest.mark.parametrize("page", PAGES)
def test_every_console_line_is_a_command_or_its_output(page: str) -> None:
    for block in BLOCK.finditer((paths.ROOT / page).read_text()):
        assert block["text"].startswith("$ "), block["text"]


@pytest.mark.parametrize("page", PAGES)
def test_every_target_of_make_in_a_page_exists(page: str) -> None:
    text = (paths.ROOT / page).read_text()
    named = {command.line.split()[1] for command in commands(text) if command.line.startswith("make ")}
    targets = set(re.findall(r"^([a-z-]+):", (paths.ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named <= targets


def headings(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as GitHub derives them."""
    titles = re.findall(r"^#+ (.+)", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_within_the_project_has_a_target(page: str) -> None:
    source = paths.ROOT / page
    for link in re.findall(r"\]\(([^)\s]+)\)", source.read_text()):
        file, _, anchor = link.partition("#")
        if not link.startswith("http"):
            target = source.parent / file if file else source
            assert target.exists(), link
            assert not anchor or anchor in headings(target), link


@pytest.mark.parametrize("file", [*PAGES, *(str(file.relative_to(paths.ROOT)) for file in paths.CONF.rglob("*.yaml"))])
def test_sweeps_in_examples_take_minutes(file: str) -> None:
    text = re.sub(r" \\\n\s*", " ", (paths.ROOT / file).read_text())
    for command in re.findall(r"python -m pipelines\.train -m (?!sweep=asha …).*", text):
        values = dict(argument.partition("=")[::2] for argument in command.replace("'", "").split())
        sizes = [len(value.split(",")) for value in values.values() if "(" not in value]
        trials = int(values.get("sweep.trials", math.prod(sizes)))
        minutes = trials * int(values["epochs"]) * 40 / 2 / 60  # two trials at a time, each with one thread
        assert minutes <= 10 or values.get("sweep.dry_run") == "true", command


def test_the_drawing_of_the_stages_fits_on_a_screen() -> None:
    lines = run(paths.ROOT, "dvc", "dag", "--collapse-foreach-matrix").splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 140  # the layout has a random part: 108 to 132 columns


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(c.is_run for c in commands((paths.ROOT / page).read_text()))]
)
def test_the_commands_of_a_page_do_not_fail(project_copy: Path, page: str) -> None:
    shell = shutil.which("bash")
    assert shell
    for command in commands((paths.ROOT / page).read_text()):
        if command.is_run and command.line.startswith(PROGRAMS):
            line = re.sub(
                r"sweep\.trials=\d+", "sweep.trials=2", command.line
            )  # fewer trials, as there are fewer images
            run(project_copy, shell, "-c", line, fails=command.fails)
        else:
            assert not command.is_run or command.line.startswith(("make ", "cd ", "source ")), command.line
