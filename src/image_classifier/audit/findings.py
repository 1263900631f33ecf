"""The findings of an audit, and the page that lists them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from image_classifier.audit.duplicates import find_neighbours
from image_classifier.audit.pictures import Pictures, fences, measure
from image_classifier.markdown import markdown_table

if TYPE_CHECKING:
    from image_classifier.config.schema import Audit

MAX_ROWS = 20  # rows of a list; the page gives the number of all
MAX_CLASSES = 30  # rows of the table of classes

PAGE = """\
# Audit of {data}

{training:,} training and {test:,} test images of {shape}, {classes:,} classes. `train 5: cat` is the training image at
position 5 of `data/prepared/{data}/train_images.npy`, counted from 0, and its label. A finding is a reason to look at
the pictures. It does not say that they are wrong.

{summary}

![Examples of each finding](audit_{data}.png)

## Duplicates

Exact duplicates have the same pixels. Near duplicates have different pixels with a correlation of at least
{similarity:g}, which a change of brightness or contrast does not alter. Pictures that were moved, mirrored or rotated
are not found. Copies in both parts make the test accuracy too high, because the network has seen the answer. Copies
with different labels cannot both be classified correctly, so these pairs come first in each list.

{duplicates}

## Unusual pictures

A picture is almost one colour if the standard deviation of its pixels (0 to 255) is below {contrast:g}. It is far
darker, brighter or less similar to its most similar picture than the others if its value lies more than {outliers:g}
interquartile ranges beyond the quartiles (Tukey's fences).

{unusual}

## Classes

{balance}

{class_table}
"""


@dataclass(frozen=True)
class Findings:
    """Findings of an audit.

    Attributes:
        pictures: Images of the data set.
        pairs: Duplicates: columns first, second (positions), similarity (0 to 1; 1 for exact duplicates), exact, across
            (one image is a training and one a test image) and differ (their labels do). An exact duplicate is paired
            with the first image that has its pixels.
        group_sizes: Number of images in each group of exact duplicates.
        complete: Whether the search for near duplicates was complete.
        unusual: Positions of unusual images by kind, the most unusual first, each with its value; the name of the
            series is that of the measure.
        counts: Number of images of each class; columns train and test, index class.
    """

    pictures: Pictures
    pairs: pd.DataFrame
    group_sizes: np.ndarray
    complete: bool
    unusual: dict[str, pd.Series]
    counts: pd.DataFrame

    def count_unusual(self) -> int:
        """Return the number of unusual images."""
        return sum(map(len, self.unusual.values()))

    def select_pairs(self, *, exact: bool, across: bool) -> pd.DataFrame:
        """Return the pairs of one kind, with different labels first, then by similarity and position."""
        chosen = self.pairs[(self.pairs["exact"] == exact) & (self.pairs["across"] == across)]
        return chosen.sort_values(
            ["differ", "similarity", "first", "second"], ascending=[False, False, True, True], ignore_index=True
        )


KINDS = {
    (True, True): "Test images that copy a training image",
    (False, True): "Test images that nearly copy a training image",
    (True, False): "Exact duplicates within a part",
    (False, False): "Near duplicates within a part",
}


def audit_dataset(pictures: Pictures, settings: "Audit") -> Findings:
    """Search a data set for duplicates, unusual pictures and classes out of balance.

    Args:
        pictures: Images of the data set.
        settings: Limits of the findings.
    """
    statistics, everything = measure(pictures), np.arange(len(pictures))
    original = statistics.original
    compared = everything[(original == everything) & (statistics.contrast >= settings.min_contrast)]
    with threadpool_limits(1, "blas"):  # on a busy machine, threads of many small products wait for each other
        neighbours = find_neighbours(pictures, compared, settings.similarity)
    copies = everything[original != everything]
    exact = _pair_table(pictures, np.column_stack([original[copies], copies]), np.ones(len(copies)), exact=True)
    near = _pair_table(pictures, neighbours.pairs, neighbours.similarity, exact=False)
    sizes = np.unique(original, return_counts=True)[1]
    nearest = pd.Series(neighbours.nearest, compared, name="greatest correlation (estimated)")
    brightness = pd.Series(statistics.brightness, name="mean of the pixels")
    contrast = pd.Series(statistics.contrast, name="standard deviation")
    dark, bright = fences(statistics.brightness, settings.outlier_ranges)
    far = fences(neighbours.nearest, settings.outlier_ranges)[0] if len(nearest) > 1 else -np.inf
    unusual = {
        "Almost one colour": _sort(contrast[contrast < settings.min_contrast]),
        "Far darker than the others": _sort(brightness[brightness < dark]),
        "Far brighter than the others": _sort(brightness[brightness > bright], ascending=False),
        "Far from all others": _sort(nearest[nearest < far]),
    }
    counts = {
        part: np.bincount(examples.labels, minlength=len(pictures.classes))
        for part, examples in (("train", pictures.training), ("test", pictures.test))
    }
    return Findings(
        pictures=pictures,
        pairs=pd.concat([exact, near], ignore_index=True),
        group_sizes=sizes[sizes > 1],
        complete=neighbours.complete,
        unusual=unusual,
        counts=pd.DataFrame(counts, pd.Index(pictures.classes, name="class")),
    )


def _pair_table(pictures: Pictures, pairs: np.ndarray, similarity: np.ndarray, *, exact: bool) -> pd.DataFrame:
    first, second = pairs.T
    return pd.DataFrame(
        {
            "first": first,
            "second": second,
            "similarity": similarity,
            "exact": exact,
            "across": pictures.is_test(first) != pictures.is_test(second),
            "differ": pictures.labels[first] != pictures.labels[second],
        }
    )


def _sort(values: pd.Series, *, ascending: bool = True) -> pd.Series:
    return values.sort_values(ascending=ascending, kind="stable")


def format_page(data: str, findings: Findings, settings: "Audit") -> str:
    """Return the findings as a Markdown page.

    Args:
        data: Name of the data set.
        findings: Findings from `audit_dataset`.
        settings: Limits of the findings.
    """
    pictures, counts = findings.pictures, findings.counts
    return PAGE.format(
        data=data,
        training=len(pictures.training),
        test=len(pictures.test),
        shape=" × ".join(map(str, pictures.training.images.shape[1:])),
        classes=len(pictures.classes),
        summary=markdown_table(_summary_rows(findings)),
        similarity=settings.similarity,
        contrast=settings.min_contrast,
        outliers=settings.outlier_ranges,
        duplicates=_format_duplicates(findings),
        unusual=_format_unusual(findings),
        balance=_judge_balance(counts["train"], settings.max_imbalance),
        class_table=_class_table(counts),
    )


def _summary_rows(findings: Findings) -> list[dict[str, str]]:
    rows = []
    for (exact, across), title in KINDS.items():
        pairs = findings.select_pairs(exact=exact, across=across)
        images = pairs["second"].nunique() if across or exact else len(pairs)
        found = f"{images:,}" if across or exact else f"{images:,} pairs"
        if across and images:
            found += f" of {len(findings.pictures.test):,}"
        differ = pairs["differ"].sum()
        rows.append({"check": title, "found": found, "with different labels": f"{differ:,}"})
    for title, values in findings.unusual.items():
        rows.append({"check": title, "found": f"{len(values):,}", "with different labels": ""})
    counts = findings.counts["train"]
    ratio = f"{counts.max() / counts.min():.1f}" if counts.min() else "a class without images"
    return [*rows, {"check": "Largest class / smallest class (training images)", "found": ratio}]


def _format_duplicates(findings: Findings) -> str:
    sizes = findings.group_sizes
    pairs = int((sizes * (sizes - 1) // 2).sum())
    text = [
        f"Exact duplicates: {len(sizes):,} groups, which have {int(sizes.sum()):,} images and make {pairs:,} pairs. In "
        "the lists, each copy is paired with the first image of its group."
        if pairs
        else "There are no exact duplicates."
    ]
    if not findings.complete:
        text.append("The search for near duplicates ended early, because too many pictures are similar.")
    for (exact, across), title in KINDS.items():
        chosen = findings.select_pairs(exact=exact, across=across)
        rows = [
            {
                "first": f"`{findings.pictures.identify(pair.first)}`",
                "second": f"`{findings.pictures.identify(pair.second)}`",
                "correlation": f"{pair.similarity:.4f}",
                "labels": "**different**" if pair.differ else "equal",
            }
            for pair in chosen.head(MAX_ROWS).itertuples()
        ]
        text += _list(title, rows, len(chosen))
    return "\n\n".join(text)


def _format_unusual(findings: Findings) -> str:
    text = []
    for title, values in findings.unusual.items():
        rows = [
            {"picture": f"`{findings.pictures.identify(position)}`", values.name: f"{value:.2f}"}
            for position, value in values.head(MAX_ROWS).items()
        ]
        text += _list(title, rows, len(values))
    return "\n\n".join(text) or "There are none."


def _list(title: str, rows: list[dict[str, str]], total: int) -> list[str]:
    return [f"### {title}", format_rows(rows, total)] if rows else []


def format_rows(rows: list[dict[str, str]], total: int) -> str:
    """Return the first rows of a table, or all of them, as Markdown; nothing without a row."""
    before = "" if total <= len(rows) else f"The first {len(rows)} of {total:,}:\n\n"
    return before + markdown_table(rows) if rows else ""


def _judge_balance(counts: pd.Series, limit: float) -> str:
    if counts.min() * limit >= counts.max():
        return f"The largest class has at most {limit:g} times as many training images as the smallest one."
    few = counts[counts * limit < counts.max()]
    return (
        f"**The classes are out of balance**: {len(few):,} of {len(counts):,} classes have less than 1/{limit:g} of "
        "the training images of the largest one. The large classes dominate the accuracy; look at the confusion "
        "matrix in `plots/`, too."
    )


def _class_table(counts: pd.DataFrame) -> str:
    if len(counts) > MAX_CLASSES:
        counts = counts.sort_values(["train", "test"], kind="stable")
        half = MAX_CLASSES // 2
        table = markdown_table(_count_rows(pd.concat([counts.head(half), counts.tail(half)])))
        return f"The {half} smallest and the {half} largest classes:\n\n{table}"
    return markdown_table(_count_rows(counts))


def _count_rows(counts: pd.DataFrame) -> list[dict[str, str]]:
    return [
        {"class": f"`{name}`", "training images": f"{train:,}", "test images": f"{test:,}"}
        for name, train, test in counts.itertuples()
    ]
