"""Tables in Markdown."""

from collections.abc import Mapping, Sequence

from tabulate import tabulate


def markdown_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Return a Markdown table with left-aligned columns.

    Args:
        rows: Cells by column title; None is an empty cell.
    """
    return str(tabulate(rows, headers="keys", tablefmt="pipe", disable_numparse=True))
