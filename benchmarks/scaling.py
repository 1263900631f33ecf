"""Time how cost grows with the work, on a slice of the data: python -m benchmarks.scaling. Takes five minutes."""

import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import typer
from tabulate import tabulate

from benchmarks.measure import clone, median, replace, run, say, seconds, timed
from image_classifier import paths
from image_classifier.cli import app

TRAIN_IMAGES, TEST_IMAGES = 3000, 1000
SINGLE, MANY, ALL, REPETITIONS = 3, 10, 50, 5
UP_TO_DATE = "Data and pipelines are up to date."
STAGES = sorted(file.stem for file in paths.CONF.glob("*.yaml") if file.stem != "base")
SUBCOMMANDS = sorted(typer.main.get_group(app).commands)


def write_table(project: Path, optimizers: Iterable[str]) -> None:
    """Write a params.yaml with a run for each of these optimizers."""
    rest = "batch_size: 128, epochs: 1, training: default"
    names = {f"run_{number}": optimizer for number, optimizer in enumerate(optimizers)}
    rows = [f"  {name}: {{data: mnist, model: cnn, optimizer: {used}, {rest}}}\n" for name, used in names.items()]
    datasets = "datasets:\n  mnist: {path: conf/data/mnist.yaml}\n"
    (project / "params.yaml").write_text(f"{datasets}runs:\n{''.join(rows)}", encoding="utf-8")


def copy_runs(project: Path, numbers: range) -> None:
    """Add runs to the table that have the files of the second run, instead of training them."""
    write_table(project, ["adam", *["sgd"] * (numbers.stop - 1)])
    for number in numbers:
        for folder in ("plots/mnist", "runs/mnist"):
            shutil.copytree(project / folder / "run_1", project / folder / f"run_{number}")
        shutil.copy(project / "run_metadata/run_1.tracked", project / f"run_metadata/run_{number}.tracked")
    run(["dvc", "commit", "--force"], project)


def slice_data(project: Path, train_images: int, test_images: int) -> None:
    """Let a project without results use few images."""
    replace(project / "conf/data/mnist.yaml", "train_examples: 60000", f"train_examples: {train_images}")
    replace(project / "conf/data/mnist.yaml", "test_examples: 10000", f"test_examples: {test_images}")
    (project / "dvc.lock").unlink()


def rows(project: Path) -> list[list[str]]:
    """Time runs that are added, an optimizer that is edited, and `dvc repro` with nothing to do."""
    repro = ["dvc", "repro"]
    say("Scaling: one run after the other")
    write_table(project, ["adam"])
    run(repro, project)
    single = []
    for count in range(1, 1 + SINGLE):
        write_table(project, ["adam", *["sgd"] * count])
        single.append(timed(repro, project))
    say(f"Scaling: {MANY} runs")
    write_table(project, ["adam", *["sgd"] * (SINGLE + MANY)])
    many = timed(repro, project)

    say("Scaling: an edit")
    replace(project / "conf/optimizer/adam.yaml", "beta_1: 0.9", "beta_1: 0.8")
    trained = re.findall(r"^Running stage '(train@.+)':", run(repro, project), re.MULTILINE)

    say(f"Scaling: {ALL} runs")
    copy_runs(project, range(1 + SINGLE + MANY, ALL))
    idle = [timed(repro, project) for _ in range(REPETITIONS)]
    if UP_TO_DATE not in run(repro, project):
        raise RuntimeError("`dvc repro` had something to do")
    return [
        ["one more run", seconds(single)],
        [f"{MANY} more runs", f"{seconds([many])}: {many / median(single):.2f} times one"],
        [
            f"runs trained after an edit of the optimizer of 1 of {1 + SINGLE + MANY} runs",
            f"{len(trained)} ({', '.join(f'`{stage}`' for stage in trained)})",
        ],
        [f"`dvc repro` with nothing to do, {ALL} runs", seconds(idle)],
    ]


def answers() -> list[list[str]]:
    """Time the answers that commands give before they start to work."""
    say("Scaling: answers of the commands")
    stages = {stage: [sys.executable, "-m", f"pipelines.{stage}"] for stage in STAGES}
    subcommands = {name: ["image-classifier", name] for name in SUBCOMMANDS}
    cases = [
        ("`--help`", "stages", stages, "--help", 0),
        ("an unknown key", "stages", stages, "nonsense=1", 1),
        ("`--help`", "subcommands of `image-classifier`", subcommands, "--help", 0),
    ]
    table = []
    for answer, kind, commands, argument, code in cases:
        taken = {name: [timed([*line, argument], code=code) for _ in range(3)] for name, line in commands.items()}
        slowest = max(taken, key=lambda name: median(taken[name]))
        table.append([f"{answer}, slowest of {len(commands)} {kind} (`{slowest}`)", seconds(taken[slowest])])
    return table


def main() -> None:
    with clone() as project:
        slice_data(project, TRAIN_IMAGES, TEST_IMAGES)
        table = [*rows(project), *answers()]
    print("## How cost grows with the work\n")
    print(f"Conditions: {TRAIN_IMAGES:,} training and {TEST_IMAGES:,} test images, one epoch.\n")
    print(tabulate(table, ["", ""], "github"))


if __name__ == "__main__":
    main()
