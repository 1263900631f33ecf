"""Whether configuration, pipeline, files and record agree, and what mends it if they do not."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ailment:
    """Something that does not agree with something else.

    Attributes:
        symptom: what is found.
        remedy: a command.
    """

    symptom: str
    remedy: str


def of_pipeline(status: dict[str, Any]) -> Iterator[Ailment]:
    """Read what DVC says of stages that are not as dvc.lock has them.

    A changed output is reported once, not again as a dependency of the next stages.

    Args:
        status: as `dvc status --json` has it: for each stage a list of changes.
    """
    outputs = {path for changes in status.values() for path in _changed(changes, "outs")}
    for stage, changes in status.items():
        own = _changed(changes, "outs")
        changed = {path: how for path, how in _changed(changes, "deps").items() if not _made(path, outputs)}
        if "changed command" in changes or own or changed:
            named = ", ".join(f"{path} {how}" for path, how in {**changed, **own}.items())
            elsewhere = "dvc pull, or " if "not in cache" in own.values() else ""
            yield Ailment(f"{stage} is not as dvc.lock has it: {named or 'another command'}.", f"{elsewhere}dvc repro")


def _changed(changes: list[Any], kind: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for change in changes:
        values = change.get(f"changed {kind}", {}) if isinstance(change, dict) else {}
        for path, how in values.items():
            found |= {path: how} if isinstance(how, str) else {f"{path}: {key}": of for key, of in how.items()}
    return found


def _made(path: str, outputs: set[str]) -> bool:
    """Tell whether a dependency is an output, or a folder of outputs."""
    return any(output == path or output.startswith(f"{path}/") for output in outputs)
