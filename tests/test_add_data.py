"""The inspection of tiny images in every form, and the files of the configuration that it becomes."""

import csv
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from image_classifier.add_data import Inspection, add_data, format_inspection, inspect_source, suggest_data, suggest_row
from image_classifier.config.compose import compose_run, load_data, load_params
from image_classifier.config.schema import Data
from image_classifier.errors import InputError

GREY, RED = (90, 90, 90), (200, 30, 30)
WHOLE = ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png", "dog/3.png")
SPLIT = ("train/cat/1.png", "train/cat/2.png", "train/dog/1.png", "test/cat/1.png", "test/dog/1.png")


def make(
    folder: Path, *names: str, size: tuple[int, int] = (18, 20), color: tuple[int, int, int] = GREY, mode: str = "RGB"
) -> Path:
    """Make pictures of one colour, with a height and a width, in a folder."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size[::-1], color).convert(mode).save(folder / name)
    return folder


def inspection(
    *sizes: tuple[int, int],
    form: str = "image_folder",
    classes: tuple[str, ...] = ("cat", "dog"),
    parts: tuple[str | None, ...] = (None,),
    failures: int = 0,
) -> Inspection:
    """Return the inspection of grey images of these sizes."""
    counts: dict[str | None, Counter[str]] = {part: Counter(dict.fromkeys(classes, 1200)) for part in parts}
    return Inspection(form, list(classes), counts, Counter(sizes), True, [f"cat/{n}.png: bad" for n in range(failures)])


def choose(found: Inspection, side: int | None = None) -> Data:
    return suggest_data("pets", found, side, skip_unreadable=False)


def contents(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_the_inspection_of_a_folder_finds_classes_numbers_and_sizes(tmp_path: Path) -> None:
    make(tmp_path, *WHOLE)
    make(tmp_path, "cat/wide.png", size=(10, 30))
    found = inspect_source(tmp_path)
    assert (found.form, found.classes, found.failures) == ("image_folder", ["cat", "dog"], [])
    assert found.counts == {None: {"cat": 3, "dog": 3}}
    assert found.sizes == {(18, 20): 5, (10, 30): 1}


def test_the_inspection_of_a_folder_with_a_split_counts_each_part(tmp_path: Path) -> None:
    found = inspect_source(make(tmp_path, *SPLIT))
    assert found.counts == {"train": {"cat": 2, "dog": 1}, "test": {"cat": 1, "dog": 1}}
    assert list(found.counts) == ["train", "test"]


@pytest.mark.parametrize(
    ("color", "mode", "is_gray"),
    [(GREY, "L", True), (GREY, "RGB", True), (GREY, "RGBA", True), (RED, "RGB", False), (RED, "P", False)],
)
def test_pictures_are_grey_if_no_pixel_has_a_colour(
    tmp_path: Path, color: tuple[int, int, int], mode: str, is_gray: bool
) -> None:
    make(tmp_path, *WHOLE)
    assert inspect_source(make(tmp_path, "dog/last.png", color=color, mode=mode)).is_gray is is_gray


def test_the_inspection_of_a_csv_file_counts_its_labels(tmp_path: Path) -> None:
    make(tmp_path, *(f"{number}.png" for number in range(5)))
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        rows = [[f"{number}.png", "dog" if number < 2 else "cat"] for number in range(5)]
        csv.writer(file).writerows([["path", "label"], *rows])
    found = inspect_source(tmp_path / "labels.csv")
    assert (found.form, found.classes, found.counts) == ("csv", ["cat", "dog"], {None: {"cat": 3, "dog": 2}})
    assert found.sizes == {(18, 20): 5}


@pytest.mark.parametrize(("shape", "is_gray"), [((6, 5), True), ((6, 5, 1), True), ((6, 5, 3), False)])
def test_the_inspection_of_an_npz_file_finds_the_size_of_its_arrays(
    tmp_path: Path, shape: tuple[int, ...], is_gray: bool
) -> None:
    np.savez(tmp_path / "pets.npz", images=np.zeros((4, *shape), np.uint8), labels=["dog", "cat", "dog", "cat"])
    found = inspect_source(tmp_path / "pets.npz")
    assert (found.form, found.classes, found.counts) == ("npz", ["cat", "dog"], {None: {"cat": 2, "dog": 2}})
    assert (found.sizes, found.is_gray) == ({(6, 5): 4}, is_gray)


def test_numbers_as_classes_of_an_npz_file_are_in_the_order_of_numbers(tmp_path: Path) -> None:
    np.savez(tmp_path / "many.npz", images=np.zeros((24, 4, 4), np.uint8), labels=np.arange(24) % 12)
    assert inspect_source(tmp_path / "many.npz").classes == [str(number) for number in range(12)]


def test_the_inspection_of_a_folder_of_idx_files_counts_both_parts(tmp_path: Path) -> None:
    for part, images in (("train", 4), ("t10k", 2)):
        for kind, array in (
            ("images-idx3", np.zeros((images, 7, 6), np.uint8)),
            ("labels-idx1", np.arange(images) % 2),
        ):
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            (tmp_path / f"{part}-{kind}-ubyte").write_bytes(header + array.astype(np.uint8).tobytes())
    found = inspect_source(tmp_path)
    assert (found.form, found.sizes) == ("idx", {(7, 6): 6})
    assert found.counts == {"train": {"0": 2, "1": 2}, "test": {"0": 1, "1": 1}}


def test_pictures_that_cannot_be_read_are_listed_and_not_counted(tmp_path: Path) -> None:
    make(tmp_path, *WHOLE)
    (tmp_path / "cat/1.png").write_bytes(b"")
    (tmp_path / "dog/3.png").write_text("text")
    found = inspect_source(tmp_path)
    assert found.counts == {None: {"cat": 1, "dog": 2}}
    assert [failure.partition(",")[0] for failure in found.failures] == [
        "cat/1.png: the file is empty",
        "dog/3.png: not a picture in one of the formats AVIF",
    ]


@pytest.mark.parametrize(
    ("sizes", "chosen"),
    [
        ([(28, 28)] * 3, [28, 28]),
        ([(16, 64)] * 3, [16, 64]),
        ([(65, 64)], [64, 64]),
        ([(8, 8)], [16, 16]),
        ([(8, 30)], [30, 30]),
        ([(20, 30), (40, 20), (50, 50)], [40, 40]),
        ([(300, 200), (400, 200)], [64, 64]),
        ([(5, 5), (6, 6)], [16, 16]),
    ],
)
def test_one_size_up_to_64_is_kept_and_others_become_squares_of_the_median(
    sizes: list[tuple[int, int]], chosen: list[int]
) -> None:
    assert choose(inspection(*sizes)).image_size == chosen


def test_the_size_of_the_command_line_wins() -> None:
    assert choose(inspection((300, 200)), side=128).image_size == [128, 128]


@pytest.mark.parametrize("form", ["npz", "idx"])
def test_arrays_keep_their_size_and_refuse_another_one(form: str) -> None:
    assert choose(inspection((100, 8), form=form)).image_size == [100, 8]
    assert choose(inspection((32, 32), form=form), side=32).image_size == [32, 32]
    with pytest.raises(InputError, match=r"^--size 32: the images are arrays of 100 x 8 pixels\. Leave the option out"):
        choose(inspection((100, 8), form=form), side=32)


@pytest.mark.parametrize(("parts", "fraction"), [((None,), 0.2), (("train", "test"), None)])
def test_only_images_without_a_split_of_their_own_are_split(
    parts: tuple[str | None, ...], fraction: float | None
) -> None:
    assert choose(inspection((28, 28), parts=parts)).test_fraction == fraction


@pytest.mark.parametrize(("images", "batch_size", "epochs"), [(2, 1, 30), (40, 10, 30), (5000, 32, 30), (5001, 64, 10)])
def test_a_small_data_set_gets_small_batches_and_more_epochs(images: int, batch_size: int, epochs: int) -> None:
    row = suggest_row(choose(inspection((28, 28))), images)
    assert (row.data, row.model, row.batch_size, row.epochs) == ("pets", "cnn_rgb", batch_size, epochs)


def test_the_report_has_a_table_of_the_classes_and_a_summary() -> None:
    assert format_inspection(Path("/data/pets"), inspection((10, 30), (20, 20), parts=("train", "test"))) == (
        "/data/pets (image_folder)\n\n"
        "class      train    test\n-------  -------  ------\ncat        1,200   1,200\ndog        1,200   1,200\n\n"
        "2 classes; 2,400 train + 2,400 test; grey; height x width in pixels: 10 x 20 to 20 x 30"
    )


def test_a_single_size_is_named_once() -> None:
    assert format_inspection(Path("/data/pets"), inspection((28, 28))).endswith(
        "; grey; height x width in pixels: 28 x 28"
    )


def test_the_table_of_many_classes_and_the_list_of_failures_are_cut() -> None:
    found = inspection((28, 28), classes=tuple(f"class{number:02}" for number in range(30)), failures=25)
    lines = format_inspection(Path("/data/pets"), found).splitlines()
    assert "class19" in lines[-25]
    assert lines[-24] == "and 10 more classes"
    assert lines[-2:] == ["  cat/19.png: bad", "  and 5 more that cannot be read"]


def test_the_files_describe_the_data_set_that_was_seen(project: Path, tmp_path: Path) -> None:
    source = make(tmp_path / "pets", *WHOLE, color=RED)
    before = (project / "params.yaml").read_text()
    add_data("pets", source, side=None, skip_unreadable=False)
    expected = suggest_data("pets", inspect_source(source), None, skip_unreadable=False)
    assert load_data("pets") == expected
    assert (expected.classes, expected.image_size, expected.color) == (["cat", "dog"], [18, 20], "rgb")
    params = load_params()
    assert params.datasets["pets"].path == str(source)
    assert params.runs["pets"] == suggest_row(expected, len(WHOLE))
    added = [line for line in (project / "params.yaml").read_text().splitlines() if not line.startswith("  pets: ")]
    assert added == before.splitlines()


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("name", ["on", "ünï: #1, [x]", "null", "1_000", "1.5", "it's", '"'])
def test_any_name_of_a_class_is_read_as_it_was_written(tmp_path: Path, name: str) -> None:
    source = make(tmp_path / "pets", *WHOLE, f"{name}/1.png", f"{name}/2.png")
    add_data("pets", source, side=None, skip_unreadable=False)
    assert load_data("pets").classes == sorted(["cat", "dog", name])


def test_letters_of_any_language_are_readable_in_the_file(project: Path, tmp_path: Path) -> None:
    add_data("pets", make(tmp_path / "pets", *WHOLE, "größe/1.png", "größe/2.png"), side=None, skip_unreadable=False)
    assert "größe" in (project / "conf/data/pets.yaml").read_text(encoding="utf-8")


@pytest.mark.usefixtures("project")
def test_the_new_run_can_be_composed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_data("pets", make(tmp_path / "pets", *SPLIT), side=24, skip_unreadable=False)
    train = compose_run("pets", load_params().runs["pets"])
    assert (train.data.image_shape, train.batch_size) == ((24, 24, 1), 1)  # of three training images
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "Wrote conf/data/pets.yaml, and the data set and the run pets into params.yaml.",
        "Train, evaluate and record it: dvc repro",
        "Without the other data sets: dvc repro track@pets compare@pets",
    ]


def test_a_folder_in_the_project_has_a_relative_path(project: Path) -> None:
    add_data("pets", make(project / "data/pets", *WHOLE), side=None, skip_unreadable=False)
    assert load_params().datasets["pets"].path == "data/pets"


@pytest.mark.usefixtures("project")
def test_pictures_that_cannot_be_read_are_left_out_if_the_user_agrees(tmp_path: Path) -> None:
    source = make(tmp_path / "pets", *WHOLE)
    (source / "dog/1.png").write_bytes(b"")
    add_data("pets", source, side=None, skip_unreadable=True)
    assert getattr(load_data("pets").source, "skip_unreadable", None) is True


def test_pictures_that_cannot_be_read_are_refused_and_named(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make(tmp_path / "pets", *WHOLE)
    (source / "dog/1.png").write_bytes(b"")
    before = contents(project)
    with pytest.raises(InputError, match=r"^1 of 5 pictures cannot be read\. Repair or remove them, or add --skip-"):
        add_data("pets", source, side=None, skip_unreadable=False)
    assert contents(project) == before
    assert "  dog/1.png: the file is empty\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (["cat/1.png", "cat/2.png"], " has no picture of the class cat. Add one."),
        (WHOLE, " has no picture of the class cat. Add one."),
        (["cat/1.png"], ": the class cat has a single picture. Add another one: training and test need one each."),
    ],
)
def test_a_class_without_enough_readable_pictures_is_refused(
    project: Path, tmp_path: Path, damaged: list[str], message: str
) -> None:
    source = make(tmp_path / "pets", *WHOLE)
    for name in damaged:
        (source / name).write_bytes(b"")
    before = contents(project)
    with pytest.raises(InputError) as raised:
        add_data("pets", source, side=None, skip_unreadable=True)
    assert str(raised.value) == f"{source}{message}"
    assert contents(project) == before


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("my pets", "pets", r"^NAME=my pets: should have at most 100 letters"),
        ("on", "pets", r"^NAME=on: should not be a number or a word"),
        ("mnist", "pets", r"^NAME=mnist is a data set, a run or a file of conf/data/ already\. Choose another name\.$"),
        ("sgd_32", "pets", r"^NAME=sgd_32 is a data set, a run or a file"),
        ("file", "pets", r"^NAME=file is a data set, a run or a file"),
        ("pets", "missing", r"^--from .*/missing: there is no such file or folder\. Correct the path\.$"),
        ("pets", "pets/cat/1.png", r"^--from .*1\.png: should be a folder, a \.csv file or an \.npz file\.$"),
        ("pets", "pets/cat", r"^.*/pets/cat: 1\.png is not in a class folder"),
        ("pets", "bad.npz", r"^.*/bad\.npz cannot be read"),
        ("pets", "long", r"^--from: path=.*: String should have at most 250 characters$"),
    ],
)
def test_nothing_is_written_when_a_name_or_a_source_is_refused(
    project: Path, tmp_path: Path, name: str, source: str, message: str
) -> None:
    make(tmp_path / "pets", *WHOLE)
    (tmp_path / "bad.npz").write_text("text")
    (project / "conf/data/file.yaml").write_text("name: file\n")
    path = make(tmp_path / ("a" * 200) / ("b" * 200), *WHOLE) if source == "long" else tmp_path / source
    before = contents(project)
    with pytest.raises(InputError, match=message):
        add_data(name, path, side=None, skip_unreadable=False)
    assert contents(project) == before


@pytest.mark.parametrize("name", ["???", "${x}", "a ${x}", "1e5", "1.5E-3"])
def test_a_name_of_a_class_that_hydra_takes_for_something_else_is_refused(
    project: Path, tmp_path: Path, name: str
) -> None:
    source = make(tmp_path / "pets", *WHOLE, f"{name}/1.png", f"{name}/2.png")
    before = contents(project)
    with pytest.raises(InputError) as raised:
        add_data("pets", source, side=None, skip_unreadable=False)
    assert str(raised.value) == f"{source}: Hydra cannot read the name of the class {name}. Rename the class."
    assert contents(project) == before


def test_a_size_that_arrays_do_not_have_writes_nothing(project: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "pets.npz", images=np.zeros((4, 6, 5), np.uint8), labels=["dog", "cat", "dog", "cat"])
    before = contents(project)
    with pytest.raises(InputError, match=r"^--size 32: the images are arrays of 6 x 5 pixels"):
        add_data("pets", tmp_path / "pets.npz", side=32, skip_unreadable=False)
    assert contents(project) == before
