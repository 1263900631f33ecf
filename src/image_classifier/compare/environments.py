"""Environments of replicates: the facts about the machine that decide the bits of a training."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from image_classifier.compare.seeds import UNKNOWN
from image_classifier.files import digest, translate_damage

# The number of cores and the versions of Python, h5py and the operating system are left out: they do not change the
# weights.
FACTS = [
    "processor",
    "processor_family",
    "instructions",
    "threads",
    "variables",
    "gpus",
    "tensorflow",
    "keras",
    "numpy",
    "ml_dtypes",
]
NAME_LENGTH = 8
MIXED_ENVIRONMENTS = (
    "The seeds of some runs come from different environments, so their difference can come from the machine or the "
    "libraries."
)


def describe_environment(recorded: Mapping[str, str], threads: int) -> pd.DataFrame:
    """Return an environment as one row with the columns `FACTS`, indexed by its name, a digest of the facts.

    Args:
        recorded: Facts of `environment.describe` that are recorded with the training; without any, the name is
            `UNKNOWN`.
        threads: Number of threads of the training.
    """
    facts = {name: recorded.get(name, UNKNOWN) for name in FACTS} | {"threads": str(threads)}
    name = digest(facts)[:NAME_LENGTH] if recorded else UNKNOWN
    return pd.DataFrame(facts, pd.Index([name], name="environment"))[FACTS]


def read_environments(path: Path) -> pd.DataFrame:
    """Read a table of environments: columns `FACTS`; index environment, the name.

    Raises:
        FileNotFoundError: The file does not exist.
        InputError: A column is missing.
    """
    with translate_damage(path):
        return pd.read_csv(path, dtype=str, keep_default_na=False).set_index("environment")[FACTS]


def merge_environments(parts: Sequence[pd.DataFrame], histories: pd.DataFrame) -> pd.DataFrame:
    """Merge tables of environments, and keep the known environments of a table of replicates.

    Args:
        parts: Tables with the columns `FACTS`; index environment.
        histories: Replicates, columns `seeds.COLUMNS`.
    """
    merged = pd.concat(parts).sort_index()
    used = merged.index.isin(histories["environment"]) & (merged.index != UNKNOWN)
    return merged[used & ~merged.index.duplicated()]


def format_selected(selection: Mapping[str, Mapping[str, Any]], path: Path) -> str:
    """Return a Markdown list of the environments of the selected seeds, one line for each, or "" without seeds.

    Args:
        selection: Result of `seeds.describe_selection`.
        path: Table of the environments.

    Raises:
        FileNotFoundError: The table does not exist.
        InputError: The table lacks an environment.
    """
    table = read_environments(path)
    names = sorted({values["environment"] for values in selection.values()} - {None})
    with translate_damage(path):
        return "\n".join(f"- `{name}`: {_format_facts(name, table)}" for name in names)


def _format_facts(name: str, table: pd.DataFrame) -> str:
    if name == UNKNOWN:
        return "the environment was not recorded with these seeds."
    facts = table.loc[name]
    threads = "1 thread" if facts["threads"] == "1" else f"{facts['threads']} threads"
    versions = ", ".join(f"{library} {facts[library]}" for library in ("tensorflow", "keras", "numpy", "ml_dtypes"))
    further = [f"{key}: {facts[key]}" for key in ("variables", "gpus") if facts[key] != "none"]
    processor = f"{facts['processor']}, family {facts['processor_family']} ({facts['instructions']})"
    return "; ".join([processor, threads, versions, *further]) + "."
