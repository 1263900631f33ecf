"""Differences between two trainings: configuration, data, code and machine."""

import json
from collections.abc import Mapping
from textwrap import fill
from typing import Any

from tabulate import tabulate

from image_classifier import environment
from image_classifier.provenance.fingerprint import TrainingInput, code_hashes, data_hash

Facts = dict[str, dict[str, Any]]  # values by section and name

WIDTH = 100  # characters of a line
VALUE_WIDTH = 25
NAME_WIDTH = WIDTH - 2 * (VALUE_WIDTH + 2)
NOT_RECORDED = "not recorded"
PLACEHOLDERS = {"Configuration": "-", "Data": NOT_RECORDED, "Code": NOT_RECORDED, "Machine": NOT_RECORDED}


def training_facts(
    training: TrainingInput, training_images: int | None, commit: str | None, machine: Mapping[str, str]
) -> Facts:
    """Return everything that is recorded about the origin of a training, with a section for each key of `PLACEHOLDERS`.

    Args:
        training: Configuration, data and code.
        training_images: Number of images in an epoch; None if it is not recorded.
        commit: Commit that was checked out; None if it is not recorded.
        machine: Recorded facts of `environment.describe`.
    """
    configuration = training.config
    return {
        "Configuration": {name: value for name, value in flatten(configuration).items() if name != "run"},
        "Data": {"images": data_hash(training.files), "training images": training_images},
        "Code": {
            **code_hashes(training.files),
            "commit": commit and commit[:10],
        },
        "Machine": {**dict.fromkeys(environment.describe()), **machine},
    }


def flatten(values: Any, key: str = "") -> dict[str, Any]:
    """Return nested mappings as one mapping with keys such as `optimizer.learning_rate`.

    The items of a list of mappings, such as layers, are named by their `name` or position; the value of the list's own
    key is the order of these names.
    """
    order = {}
    if values and isinstance(values, list) and all(isinstance(item, dict) for item in values):
        values = {str(item.get("name", index)): item for index, item in enumerate(values)}
        order = {key: " ".join(values)}
    if not isinstance(values, dict):
        return {key: values}
    prefix = f"{key}." if key else ""
    return order | {
        name: item for child, value in values.items() for name, item in flatten(value, f"{prefix}{child}").items()
    }


def find_differences(first: Mapping[str, Any], second: Mapping[str, Any], absent: str) -> list[tuple[str, Any, Any]]:
    """Return key, first and second value of each difference of two flat mappings; `absent` replaces a missing value."""
    return [
        (key, first.get(key, absent), second.get(key, absent))
        for key in sorted({**first, **second})
        if first.get(key, absent) != second.get(key, absent)
    ]


def format_differences(first: str, second: str, facts: Mapping[str, Facts]) -> str:
    """Return a table for each section in which two runs differ, at most `WIDTH` characters wide.

    Args:
        first: Name of the first run.
        second: Name of the second run.
        facts: Result of `training_facts` for each run.
    """
    tables: list[str] = []
    unknown: list[str] = []
    run_width = VALUE_WIDTH - 2  # tabulate adds 2
    for section, absent in PLACEHOLDERS.items():
        first_facts = facts[first][section]
        second_facts = facts[second][section]
        if absent == NOT_RECORDED:
            names = {**first_facts, **second_facts}
            first_facts = _recorded(first_facts)
            second_facts = _recorded(second_facts)
            unknown += [name for name in names if name not in first_facts and name not in second_facts]
        rows = [_row(*difference) for difference in find_differences(first_facts, second_facts, absent)]
        if rows:
            headers = (section, _shorten(first, run_width), _shorten(second, run_width))
            tables.append(str(tabulate(rows, headers, disable_numparse=True)))
    if not tables:
        tables.append("The recorded configuration, data, code and machine of the two runs are the same.")
    if unknown:
        tables.append(fill(f"Not recorded for either run, so they may differ: {', '.join(unknown)}.", WIDTH))
    return "\n\n".join(tables)


def _recorded(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: fact for name, fact in facts.items() if fact is not None}


def _row(name: str, first: Any, second: Any) -> tuple[str, str, str]:
    """Return a difference as texts that fit into the columns of the table."""
    first_text = _text(first)
    second_text = _text(second)
    return (
        _shorten(name, NAME_WIDTH),
        _distinct_words(first_text, second_text),
        _distinct_words(second_text, first_text),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _distinct_words(text: str, other: str) -> str:
    """Return a text; if it is too long for a column, only its words that the other text does not have."""
    words = [word for word in text.split() if word not in other.split()]
    return _shorten(f"… {' '.join(words)}" if len(text) > VALUE_WIDTH and 0 < len(words) < len(text.split()) else text)


def _shorten(text: str, width: int = VALUE_WIDTH) -> str:
    """Replace the middle of a text that is longer than `width` by an ellipsis."""
    return text if len(text) <= width else f"{text[: width // 2 - 1]}…{text[-(width - width // 2) :]}"
