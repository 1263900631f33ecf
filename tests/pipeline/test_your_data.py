"""A data set of a user's own pictures beside MNIST: its results, and the stages that run again after a change."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers import CLI, RUNS, copy_project, query, replace, run, share, stages, tracked_runs
from PIL import Image, ImageDraw

pytestmark = pytest.mark.slow

CLASSES = ("circle", "square", "triangle")
SIDE, PICTURES = 12, 30  # pixels; pictures of each class
CONF = """\
# python -m pipelines.fetch data=shapes
#   Small colour pictures of three shapes.
name: shapes

source:
  form: image_folder
  skip_unreadable: false

classes: [circle, square, triangle]
image_size: [12, 12]
color: rgb
fit: pad

test_fraction: 0.3

train_examples: null
test_examples: null
"""
DATA_STAGES = ["fetch@shapes", "prepare@shapes", "audit@shapes"]
RUN_STAGES = ["train@shapes_64", "evaluate@shapes_64", "track@shapes_64"]
COMPARISON = "compare@shapes"
MNIST_RESULTS = (
    "data/prepared/mnist",
    "reports/comparison_mnist.json",
    "reports/comparison_mnist.md",
    "reports/dataset_mnist.json",
    "reports/models/cnn_mnist.txt",
    *(f"{folder}/mnist/{name}" for folder in ("plots", "runs") for name in RUNS),
)


def draw_picture(folder: Path, class_name: str, number: int) -> None:
    """Draw a shape whose place, size and colours depend on its number."""
    random = np.random.default_rng((CLASSES.index(class_name), number))
    left, top = (int(value) for value in random.integers(1, 4, 2))
    box = (left, top, left + int(random.integers(5, 8)), top + int(random.integers(5, 8)))
    dark, bright = (tuple(random.integers(low, low + 80, 3).tolist()) for low in (0, 170))
    picture = Image.new("RGB", (SIDE, SIDE), dark)
    draw = ImageDraw.Draw(picture)
    match class_name:
        case "circle":
            draw.ellipse(box, fill=bright)
        case "square":
            draw.rectangle(box, fill=bright)
        case _:
            draw.polygon([(box[0], box[3]), (box[2], box[3]), ((box[0] + box[2]) // 2, box[1])], fill=bright)
    (folder / class_name).mkdir(parents=True, exist_ok=True)
    picture.save(folder / class_name / f"{number:02}.png")


def add_shapes(project: Path) -> None:
    """Add the pictures, their configuration, the data set and a run to a project."""
    for class_name in CLASSES:
        for number in range(PICTURES):
            draw_picture(project / "pictures/shapes", class_name, number)
    (project / "conf/data/shapes.yaml").write_text(CONF)
    params = project / "params.yaml"
    replace(params, "\n\n# The runs", "\n  shapes: {path: pictures/shapes}\n\n# The runs")
    with params.open("a") as file:
        file.write(
            "  shapes_64: {data: shapes, model: cnn, optimizer: adam, batch_size: 16, epochs: 2, training: default}\n"
        )


@pytest.fixture(scope="session")
def two_data_sets(repro_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of `repro_project` after the `dvc repro` that adds a second data set. Do not change it."""

    def make(project: Path) -> str:
        copy_project(repro_project, project)
        add_shapes(project)
        return run(project, "dvc", "repro")

    yield from share(tmp_path_factory, "two_data_sets", make)


@pytest.fixture
def two_data_sets_copy(two_data_sets: Path, tmp_path: Path) -> Path:
    """A copy of `two_data_sets` that a test may change."""
    copy = tmp_path / "project"
    copy_project(two_data_sets, copy)
    return copy


def results_of_mnist(project: Path) -> dict[str, bytes]:
    """Return the contents of the files of MNIST and its runs."""
    paths = [project / path for path in MNIST_RESULTS]
    files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.iterdir()))]
    return {file.relative_to(project).as_posix(): file.read_bytes() for file in files}


def test_a_second_data_set_runs_exactly_its_stages(two_data_sets: Path) -> None:
    ran = stages(two_data_sets.with_suffix(".log").read_text())
    comparisons = [COMPARISON, "compare@mnist"]  # both read the table of all runs
    assert sorted(ran) == sorted([*DATA_STAGES, "diagram", *RUN_STAGES, *comparisons])


def test_a_second_data_set_changes_no_result_of_mnist(repro_project: Path, two_data_sets: Path) -> None:
    assert results_of_mnist(two_data_sets) == results_of_mnist(repro_project)
    before = tracked_runs(repro_project)
    assert [name for name, _, _ in tracked_runs(two_data_sets)] == [*(name for name, _, _ in before), "shapes_64"]


def test_a_data_set_has_an_experiment_of_its_own_and_its_runs_name_it(two_data_sets: Path) -> None:
    runs = "SELECT runs.name FROM runs JOIN experiments USING (experiment_id) WHERE experiments.name = ?"
    assert {name for (name,) in query(two_data_sets, runs, "mnist")} == set(RUNS)
    assert query(two_data_sets, runs, "shapes") == [("shapes_64",)]
    names = "SELECT datasets.name FROM datasets JOIN experiments USING (experiment_id) WHERE experiments.name = ?"
    ((name,),) = query(two_data_sets, names, "shapes")
    training, test = (
        len(np.load(two_data_sets / f"data/prepared/shapes/{part}_labels.npy")) for part in ("train", "test")
    )
    assert name == f"shapes {training} + {test}"


def test_only_the_comparison_of_mnist_has_published_logs(two_data_sets: Path) -> None:
    heading = "## The notebook's published logs"
    assert heading in (two_data_sets / "reports/comparison_mnist.md").read_text()
    shapes = (two_data_sets / "reports/comparison_shapes.md").read_text()
    assert shapes.startswith("# Pipeline runs on shapes\n")
    assert heading not in shapes
    assert "published" not in shapes


def test_runs_of_two_data_sets_are_not_compared(two_data_sets: Path) -> None:
    message = run(two_data_sets, CLI, "compare", "fast", "shapes_64", fails=True).splitlines()[-1]
    reason = "fast is trained on mnist, shapes_64 on shapes: their accuracies cannot be compared."
    assert message == f"Error: {reason}"


def test_a_changed_picture_runs_exactly_the_stages_of_its_data_set(
    repro_project: Path, two_data_sets_copy: Path
) -> None:
    picture = two_data_sets_copy / "pictures/shapes/circle/00.png"
    Image.new("RGB", (SIDE, SIDE), (200, 100, 50)).save(picture)
    ran = stages(run(two_data_sets_copy, "dvc", "repro"))
    assert sorted(ran) == sorted([*DATA_STAGES, *RUN_STAGES, COMPARISON])
    assert results_of_mnist(two_data_sets_copy) == results_of_mnist(repro_project)


def test_ten_more_pictures_run_exactly_the_stages_of_their_data_set(two_data_sets_copy: Path) -> None:
    before = np.load(two_data_sets_copy / "data/prepared/shapes/test_images.npy")
    for number in range(PICTURES, PICTURES + 10):
        draw_picture(two_data_sets_copy / "pictures/shapes", "square", number)
    ran = stages(run(two_data_sets_copy, "dvc", "repro"))
    assert sorted(ran) == sorted([*DATA_STAGES, *RUN_STAGES, COMPARISON])
    prepared = two_data_sets_copy / "data/prepared/shapes"
    counts = {part: len(np.load(prepared / f"{part}_labels.npy")) for part in ("train", "test")}
    assert sum(counts.values()) == len(CLASSES) * PICTURES + 10
    after = {image.tobytes() for image in np.load(prepared / "test_images.npy")}
    assert {image.tobytes() for image in before} <= after  # no picture of the test part became a training image


def test_a_folder_of_pictures_becomes_a_model_that_answers(project_copy: Path) -> None:
    for class_name in CLASSES:
        for number in range(PICTURES):
            draw_picture(project_copy / "pictures/shapes", class_name, number)
    run(project_copy, CLI, "add-data", "shapes", "--from", "pictures/shapes")
    replace(project_copy / "params.yaml", "epochs: 30", "epochs: 1")
    ran = stages(run(project_copy, "dvc", "repro", "track@shapes"))
    assert sorted(ran) == sorted([*DATA_STAGES[:2], "train@shapes", "evaluate@shapes", "diagram", "track@shapes"])
    assert "shapes@champion is now version 1 (shapes)" in run(project_copy, CLI, "promote", "shapes")
    for model in ("shapes", "models:/shapes@champion"):
        answer = run(project_copy, CLI, "predict", model, "pictures/shapes/circle/00.png").splitlines()[-1].split()
        assert answer[0] == "pictures/shapes/circle/00.png"
        assert sorted(answer[1::2]) == sorted(CLASSES)
