"""Arrows point one way, a stage has one name, and dvc.yaml lists the code of every stage."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from image_classifier import paths

PACKAGE = "image_classifier"
LEAVES = {"dataset", "determinism", "environment", "errors", "files", "markdown", "paths"}
STAGE_PACKAGES = {"fetch", "prepare", "audit", "diagram", "train", "evaluate", "compare"}
ABOVE_STAGES = {
    "add_data",
    "change_report",
    "cli",
    "doctor",
    "entrypoint",
    "error_browser",
    "label_issues",
    "pipelines",
    "reproduction",
    "serve",
    "sweep",
    "track",
}
STAGES: dict[str, dict[str, Any]] = yaml.safe_load(paths.DVC_YAML.read_text())["stages"]
MAX_LINES = 35  # of an entry point

# Code that can refuse to start, and that writes files where they belong, but cannot change the content of an output.
NEVER_CHANGES_OUTPUTS = {"config", "entrypoint", "environment", "errors", "files", "paths"}
# The same for the code that one package imports.
ALSO_NEVER = {
    "pipelines": {"provenance"},  # refuses to evaluate an ad hoc run whose data set changed
    "train": {"provenance"},  # writes run_metadata/, which is not an output of DVC
    "track": {"compare", "dataset", "evaluate", "fetch", "train"},  # the output is only the fingerprint of a result
}

SOURCES = sorted((paths.ROOT / "src").rglob("*.py"))
ENTRY_POINTS = sorted((paths.ROOT / "pipelines").glob("*.py"))


def imported(file: Path) -> Iterator[str]:
    """Yield the full names of the modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if module_path(name) else str(node.module)


def module_path(name: str) -> str | None:
    """Return the path of a module of this project, relative to it, or None for other modules."""
    place = name.replace(".", "/")
    candidates = [f"src/{place}.py", f"src/{place}/__init__.py", f"{place}.py"]
    return next((path for path in candidates if (paths.ROOT / path).exists()), None)


def part(name: str) -> str:
    """Return the module or package directly below image_classifier, or the top-level package of other modules."""
    first, _, rest = name.partition(".")
    return rest.partition(".")[0] if first == PACKAGE else first


def package(file: Path) -> str:
    """Return the module or package directly below image_classifier that a file belongs to, or "pipelines"."""
    parts = file.relative_to(paths.ROOT).with_suffix("").parts
    return parts[2] if parts[:2] == ("src", PACKAGE) else parts[0]


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.relative_to(paths.ROOT / "src").as_posix())
def test_a_module_imports_only_what_its_place_allows(file: Path) -> None:
    own, parts = package(file), {part(name) for name in imported(file)}
    assert "pipelines" not in parts
    if own in STAGE_PACKAGES | {"config", "provenance"}:
        assert not parts & ABOVE_STAGES
    if own in LEAVES:
        assert not {part(name) for name in imported(file) if name.startswith(PACKAGE)} - LEAVES
    if own != "track":
        assert "mlflow" not in parts
    if own != "sweep" and "hydra_plugins" not in file.parts:
        assert not parts & {"ray", "optuna"}


@pytest.mark.parametrize("stage", STAGES)
def test_dvc_yaml_lists_the_code_of_a_stage(stage: str) -> None:
    dependencies = STAGES[stage].get("do", STAGES[stage])["deps"]
    code = [paths.ROOT / path for path in dependencies if path.startswith(("src/", "pipelines/"))]
    files = [file for path in code for file in ([path] if path.is_file() else path.rglob("*.py"))]
    assert files
    missing = {
        f"{file.relative_to(paths.ROOT)} imports {name}"
        for file in files
        for name in imported(file)
        if (path := module_path(name))
        and part(name) not in NEVER_CHANGES_OUTPUTS | ALSO_NEVER.get(package(file), set())
        if not any(path == dependency or path.startswith(f"{dependency}/") for dependency in dependencies)
    }
    assert not missing


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_an_entry_point_a_package_and_a_configuration_of_its_name(stage: str) -> None:
    assert (paths.ROOT / f"pipelines/{stage}.py").is_file()
    assert (paths.ROOT / f"src/image_classifier/{stage}/__init__.py").is_file()
    assert (paths.CONF / f"{stage}.yaml").is_file()


def test_every_entry_point_is_a_short_stage() -> None:
    assert {file.stem for file in ENTRY_POINTS} == {"__init__", *STAGES}
    long = {file.name: count for file in ENTRY_POINTS if (count := len(file.read_text().splitlines())) > MAX_LINES}
    assert not long


@pytest.mark.parametrize("file", [*SOURCES, *ENTRY_POINTS], ids=lambda file: file.relative_to(paths.ROOT).as_posix())
def test_text_files_are_utf_8_whatever_the_locale(file: Path) -> None:
    calls = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call))
    in_locale = [
        call.lineno
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr in ("read_text", "write_text")
        if not any(keyword.arg == "encoding" for keyword in call.keywords)
    ]
    assert not in_locale or package(file) == "train"  # which writes only ASCII
