"""Examples of the findings of an audit."""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from image_classifier.audit.findings import KINDS, Findings
from image_classifier.audit.pictures import Pictures

Example = tuple[tuple[int, ...], str, bool]  # positions, caption, and whether labels differ
Row = tuple[str, list[Example]]

COLUMNS = 6
MAX_LINE_LENGTH = 24  # characters of a caption's line
GAP = 0.08  # width of the space between two images, as a share of an image


def plot_findings(data: str, findings: Findings) -> Figure:
    """Draw the most suspicious examples of each finding, one row for each kind, with part, number and label.

    Pairs with different labels have a red caption.

    Args:
        data: Name of the data set.
        findings: Findings from `audit_dataset`.
    """
    return plot_rows(f"Audit of {data}", findings.pictures, list(_rows(findings)))


def plot_rows(heading: str, pictures: Pictures, rows: list[Row]) -> Figure:
    """Draw rows of at most six examples, each of one or more images side by side.

    Args:
        heading: Title of the figure.
        pictures: Images of the data set.
        rows: Title and examples of each row.
    """
    number = max(1, len(rows))
    figure = Figure(figsize=(10, 0.7 + 1.75 * number), layout="constrained")
    figure.suptitle(heading if rows else f"{heading}: nothing was found")
    for part, (title, examples) in zip(figure.subfigures(number, squeeze=False)[:, 0], rows, strict=False):
        part.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
        for axes, example in zip(part.subplots(1, COLUMNS), [*examples, *[None] * COLUMNS], strict=False):
            axes.set_axis_off()
            if example:
                positions, value, differ = example
                axes.imshow(_join(pictures, positions))
                captions = [_shorten(pictures.describe(position)) for position in positions]
                axes.set_title("\n".join([*captions, value]), fontsize=7, color="tab:red" if differ else "black")
    return figure


def _rows(findings: Findings) -> Iterator[Row]:
    """Yield the title of each kind that was found, and its examples."""
    for (exact, across), title in KINDS.items():
        pairs = findings.select_pairs(exact=exact, across=across)
        if len(pairs):
            examples: list[Example] = [
                ((pair.first, pair.second), "" if exact else f"correlation {pair.similarity:.4f}", bool(pair.differ))
                for pair in pairs.head(COLUMNS).itertuples()
            ]
            yield f"{title} ({len(pairs):,}, of which {pairs['differ'].sum():,} with different labels)", examples
    for title, values in findings.unusual.items():
        if len(values):
            yield (
                f"{title} ({len(values):,})",
                [((position,), f"{value:.2f}", False) for position, value in values.head(COLUMNS).items()],
            )


def _join(pictures: Pictures, positions: tuple[int, ...]) -> np.ndarray:
    """Return images side by side, in colour, with a white gap."""
    images = pictures.read(np.array(positions))
    gap = np.full((images.shape[1], max(1, round(GAP * images.shape[2])), 3), 255, np.uint8)
    parts = [part for image in images for part in (np.broadcast_to(image, (*image.shape[:2], 3)), gap)]
    return np.hstack(parts[:-1])


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_LINE_LENGTH else f"{text[: MAX_LINE_LENGTH - 1]}…"
