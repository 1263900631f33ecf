"""The command `image-classifier`: everything except the stages of the pipeline.

The subcommands import large libraries when they run, so that `--help` and shell completion answer at once.
"""

import functools
import os
import shlex
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from image_classifier import exit_on_interrupt, paths
from image_classifier.environment import gc_paused, tensorflow_import
from image_classifier.errors import InputError

PACKAGE = "src/image_classifier"
MARKERS = ("pyproject.toml", PACKAGE)  # a folder with all of them is a project
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".pdf", ".svg")  # file names of drawings

app = typer.Typer(
    help="Add data sets and runs; compare, audit, verify and promote trained runs; predict, serve and export; check "
    "the project. Stages and sweeps have another command line: python -m pipelines.train --help",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Run the command line with the library of the project that contains the working directory."""
    try:
        project = find_project(Path.cwd())
    except FileNotFoundError:
        sys.exit("Error: the working directory was removed. Change to a project.")
    library = (project or Path(__file__).parents[2]) / PACKAGE
    if not Path(__file__).parent.samefile(library) or sys.flags.optimize > 1:  # without docstrings there is no help
        search_path = os.pathsep.join(filter(None, [str(library.parent), os.environ.get("PYTHONPATH")]))
        command_line = [sys.executable, "-P", "-m", "image_classifier.cli", *sys.argv[1:]]
        os.execve(sys.executable, command_line, {**os.environ, "PYTHONPATH": search_path, "PYTHONOPTIMIZE": ""})
    if signal.getsignal(signal.SIGINT) is exit_on_interrupt:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # `verify` removes its checkout, `ui` ends its server
    app(prog_name="image-classifier")


def find_project(folder: Path) -> Path | None:
    """Return the innermost project that contains a folder, or None."""
    folders = (folder, *folder.parents)
    return next((place for place in folders if all((place / marker).exists() for marker in MARKERS)), None)


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Register a function as a subcommand, which needs a project and reports a user's mistake in one line."""

    @functools.wraps(function)
    def run(**arguments: Any) -> None:
        from image_classifier.entrypoint import exit_on_input_error

        with exit_on_input_error():
            if not find_project(Path.cwd()):
                raise InputError(
                    f"{Path.cwd()} is not in the project. Change to your clone, which has {' and '.join(MARKERS)}."
                )
            function(**arguments)

    return app.command()(run)


def complete_run(incomplete: str) -> list[str]:
    """Return the rows of params.yaml that begin with a text."""
    from image_classifier.files import read_yaml

    with suppress(InputError, OSError):
        return read_yaml(paths.PARAMS, lambda values: [row for row in values["runs"] if row.startswith(incomplete)])
    return []


ANY_RUN = "A row of params.yaml, a folder of outputs/, or the id of an MLflow run (6 digits or more)."
ANY_RUN_OR_MODEL = f"{ANY_RUN[:-1]}, or an MLflow model (models:/NAME@ALIAS)."
Port = Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")]


@command
def doctor(
    config_only: Annotated[
        bool, typer.Option("--config-only", help="Check only conf/ and params.yaml, which takes a few seconds.")
    ] = False,
) -> None:
    """Check the project and print a fix for each problem.

    The checks cover conf/, params.yaml, the arguments that Keras accepts, dvc.lock, the files and MLflow. Exit code 1
    means that there is a problem.

    Example: image-classifier doctor
    """
    from image_classifier.doctor import find_problems

    problems = 0
    for problem in find_problems(config_only=config_only):
        typer.echo(problem)
        problems += 1
    if problems:
        raise typer.Exit(1)
    typer.echo(
        "conf/ and params.yaml are valid." if config_only else "conf/, params.yaml, dvc.lock, files and MLflow agree."
    )


@command
def results() -> None:
    """Show the results, and whether they reproduce those in git.

    A run reproduces the committed result if it has the same bytes. On another processor, whose rounding differs, its
    test accuracy is compared with the prediction interval of the run's seeds.

    Example: image-classifier results
    """
    from image_classifier.config.compose import load_compare_config, load_params

    config = load_compare_config()
    params = load_params()
    with gc_paused():
        from image_classifier.reproduction import describe_results

    for line in describe_results(params, config.confidence):
        typer.echo(line)


@command
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help=ANY_RUN, autocompletion=complete_run)],
    second: Annotated[str, typer.Argument(metavar="B", help=ANY_RUN, autocompletion=complete_run)],
) -> None:
    """List how two runs differ, and test their accuracies.

    The tables list each value of configuration, data, code and machine that differs. The test compares the predictions
    for the test images. If both runs have replicates (trainings with other seeds), a second test compares these.

    Example: image-classifier compare sgd_128 adadelta_128
    """
    from image_classifier.config.compose import load_compare_config, load_params

    config = load_compare_config()
    params = load_params()
    with gc_paused():
        from image_classifier.compare.pair import format_pair
        from image_classifier.provenance.differences import format_differences
        from image_classifier.track.reader import compare_two_runs, find_facts

    facts = {run: find_facts(run, params) for run in (first, second)}
    typer.echo(f"{format_differences(first, second, facts)}\n")
    data = facts[first]["Configuration"]["data"]
    other_data = facts[second]["Configuration"]["data"]
    if data != other_data:
        raise InputError(
            f"{first} is trained on {data}, {second} on {other_data}: their accuracies cannot be compared."
        )
    tests, missing = compare_two_runs(first, second, data, params, config)
    typer.echo(format_pair(tests, missing, params.runs))


@command
def errors(
    data: Annotated[
        str | None, typer.Argument(metavar="DATA", help="Data set. Default: the first one of params.yaml.")
    ] = None,
) -> None:
    """Make a page of the test images that a run misclassifies.

    The page, reports/errors_DATA.html, shows the answer of each run and how sure it is. You can filter the pictures by
    class and by run, and see which parts of a picture an answer depends on.

    Example: image-classifier errors mnist
    """
    from image_classifier.config.compose import load_compare_config, load_params

    config = load_compare_config()
    params = load_params()
    with gc_paused():
        from image_classifier.error_browser.browse import write_page

    typer.echo(write_page(params.choose_data(data), params, config.batch_size))


@command
def report(
    base: Annotated[str, typer.Option(metavar="REVISION", help="Revision of git to compare with.")],
    plots: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Draw the curves into this folder, and link them.")
    ] = None,
) -> None:
    """Print the effect of a change on the results.

    The report is Markdown for a pull request. It compares a revision of git with the workspace, committed or not:
    configuration, code, stages, test accuracies with tests, curves, and new mistakes. The accuracies are compared on
    the same test images if DVC's cache has the predictions of both versions.

    Example: image-classifier report --base main
    """
    from image_classifier.config.compose import load_compare_config

    config = load_compare_config()
    with gc_paused():
        from image_classifier.change_report import report_change

    typer.echo(report_change(base, config, plots))


@command
def replicate(
    runs: Annotated[list[str], typer.Argument(metavar="RUN", help="Rows of params.yaml.", autocompletion=complete_run)],
    seeds: Annotated[int, typer.Option(min=2, max=1000, help="Number of seeds of each run: 1, 2, 3, …")] = 5,
    cpus_per_trial: Annotated[
        int,
        typer.Option(min=1, max=1024, help="CPUs, and threads, of each training. Another number gives other weights."),
    ] = 1,
    address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Address of a Ray cluster, or auto. Default: this machine.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the plan, with the expected time.")] = False,
) -> None:
    """Train rows of params.yaml with several seeds.

    These trainings are called the replicates of a run and show how much its accuracy varies. Writes
    reports/replicates.csv, the environments and predictions of the seeds beside it, and reports/replicates.png. An
    interrupted command resumes when it is repeated.

    Example: image-classifier replicate sgd_32 adadelta_128 --seeds 5
    """
    with gc_paused():
        from image_classifier.sweep.replicate import replicate_runs

    repeat = shlex.join(["image-classifier", *sys.argv[1:]])
    replicate_runs(runs, seeds=seeds, cpus_per_trial=cpus_per_trial, address=address, dry_run=dry_run, command=repeat)


@command
def verify(
    run: Annotated[str, typer.Argument(metavar="RUN", help=ANY_RUN, autocompletion=complete_run)],
    tolerance: Annotated[
        float, typer.Option(min=0, help="Accepted absolute difference of any metric in any epoch. 0: the same bits.")
    ] = 0.0,
) -> None:
    """Train a recorded run again and compare every epoch.

    The training runs in a temporary checkout of the run's commit and takes as long as it took before. Exit code 1 means
    that the results differ.

    Example: image-classifier verify sgd_32 --tolerance 0.001
    """
    from image_classifier.config.compose import load_params

    with gc_paused():
        from image_classifier.provenance.verify import verify_run
        from image_classifier.track.reader import find_run, read_run

    store, run_id = find_run(run, load_params())
    verified, verdict = verify_run(read_run(store, run_id), tolerance)
    typer.echo(verdict)
    raise typer.Exit(0 if verified else 1)


@command
def promote(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN", help="A row of params.yaml, or a folder of outputs/.", autocompletion=complete_run
        ),
    ] = None,
    force: Annotated[
        str | None, typer.Option(metavar="REASON", help="Promote the run in any case, and record this reason.")
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Make the previous champion the champion again.")] = False,
    history: Annotated[bool, typer.Option("--history", help="List all changes of the champion.")] = False,
    data: Annotated[
        str | None, typer.Option(help="Data set for --undo and --history. Default: the first one of params.yaml.")
    ] = None,
) -> None:
    """Make a run the champion, which is served, if it is better.

    Its model becomes a version of the registered model of its data set, and MLflow's alias champion names the version
    that is served. A run replaces the champion if its accuracy on the test images is significantly higher and its
    probabilities are not worse; docs/deployment.md has the rules. Exit code 1 means that the champion stays.

    Example: image-classifier promote adadelta_128
    """
    if [run is not None, undo, history].count(True) != 1:
        raise typer.BadParameter("give exactly one of RUN, --undo and --history")
    if run and data:
        raise typer.BadParameter("--data is for --undo and --history; a run has its own data set")
    if force is not None and not run:
        raise typer.BadParameter("--force is for RUN")
    if force is not None and not force.strip():
        raise InputError('--force needs a reason, which is recorded: image-classifier promote RUN --force "REASON"')
    from image_classifier.config.compose import load_compare_config, load_params
    from image_classifier.config.lookup import find_run_files

    config = load_compare_config()
    params = load_params()
    if run:
        find_run_files(run, params.runs)
    data = params.choose_data(data)
    with gc_paused():
        from image_classifier.provenance.result import read_result
        from image_classifier.track import promotion

    if history:
        typer.echo(promotion.describe_history(data))
        return
    if run:
        result = read_result(run)
        data = result.data
        move = promotion.promote(result, params, config, force)
    else:
        move = promotion.undo(data)
    option = "" if data == params.choose_data(None) else f" --data {data}"
    typer.echo(f"{promotion.describe_move(data, move)} Serve it: image-classifier serve{option}")


@command
def predict(
    run: Annotated[str, typer.Argument(metavar="RUN", help=ANY_RUN_OR_MODEL, autocompletion=complete_run)],
    pictures: Annotated[list[str], typer.Argument(metavar="PICTURE", help="Files or folders.")],
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the predictions as CSV.")] = None,
    show: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the first 100 pictures as the network sees them.")
    ] = None,
) -> None:
    """Classify pictures with a run.

    Pictures are converted to the form of the run's data set. For MNIST, a picture has one digit, drawn or photographed,
    dark or bright, which is cut out, scaled and centred. The columns are the three most probable classes and their
    probabilities. A run that was trained with validation=held_out and evaluated answers "not sure" below a threshold.
    Exit code 1 means that a picture cannot be read; the others are classified nevertheless.

    Example: image-classifier predict adadelta_128 photo.png --show seen.png
    """
    from image_classifier.config.compose import load_params

    if show and show.suffix.lower() not in PICTURE_SUFFIXES:
        raise InputError(f"--show {show}: should end with one of: {', '.join(PICTURE_SUFFIXES)}.")
    if output and output.suffix.lower() != ".csv":
        raise InputError(f"--output {output}: should end with .csv.")
    with gc_paused():
        from image_classifier.files import atomic_write, write_figure
        from image_classifier.serve import predict as predictions
        from image_classifier.track.reader import find_model

    files = predictions.find_pictures(pictures)
    if show and show.resolve() in (file.resolve() for file in files):
        raise InputError(f"--show {show}: would replace one of the pictures. Choose another name.")
    model, task, calibration = find_model(run, load_params())
    images, problems = predictions.convert_pictures(files, task)
    if images:
        table = predictions.predict_pictures(model, images, task.classes, calibration)
        typer.echo(table.to_string(index=False, float_format="{:.4f}".format))
        if output:
            with atomic_write(output) as path:
                table.to_csv(path, index=False)
        if show:
            write_figure(show, predictions.draw_pictures(images, table))
    for problem in problems:
        typer.echo(f"Error: {problem}", err=True)
    if problems:
        raise typer.Exit(1)


@command
def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help=ANY_RUN_OR_MODEL, autocompletion=complete_run)],
    form: Annotated[Literal["onnx", "litert", "saved_model"], typer.Option("--format", help="Format of the file.")],
    quantize: Annotated[
        Literal["int8"] | None, typer.Option(help="Quantize weights and activations. Not for saved_model.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to write. Default: exports/RUN/FORMAT.")
    ] = None,
    max_difference: Annotated[
        float, typer.Option(min=0, max=1, help="Accepted difference of any probability. Not checked with int8.")
    ] = 1e-4,
    max_lost_accuracy: Annotated[
        float, typer.Option(min=0, max=1, help="Accepted loss of accuracy on the test images; 0.005 is half a point.")
    ] = 0.005,
) -> None:
    """Export a model to a file for other programs, with proof.

    The file receives pixels from 0 to 255. All test images are sent through it, and proof.json beside it compares its
    answers with the model's. Both are logged to the run in MLflow. Exit code 1 means that the answers differ too much;
    then nothing is written.

    Example: image-classifier export adadelta_128 --format onnx
    """
    from image_classifier.config.compose import load_params

    with gc_paused():
        from image_classifier.serve.export import check_request, export_model
        from image_classifier.track.exports import log_export
        from image_classifier.track.reader import find_model

    check_request(form, quantize)
    params = load_params()
    kind = f"{form}_{quantize}" if quantize else form
    model, task, calibration = find_model(run, params)
    folder = (output or paths.export(run, kind)).absolute()
    export_model(
        run,
        model,
        task,
        calibration,
        folder,
        form,
        quantize,
        max_difference=max_difference,
        max_lost_accuracy=max_lost_accuracy,
    )
    run_id = log_export(run, params, folder, kind)
    typer.echo(f"Logged to MLflow run {run_id}, folder exports/{kind}" if run_id else f"MLflow does not have {run}.")


@command
def serve(
    port: Port = 5001,
    data: Annotated[
        str | None, typer.Option(help="Data set of the model. Default: the first one of params.yaml.")
    ] = None,
) -> None:
    """Serve the promoted model and a drawing page on 127.0.0.1.

    The page shows the answers of the promoted model and of all other current runs. Clients send POST /invocations with
    {"inputs": [images]}; docs/deployment.md has an example. Ctrl-C ends the server.

    Example: image-classifier serve --port 5001
    """
    with gc_paused():
        from image_classifier.serve import server

    server.serve(port, data)


@command
def ui(port: Port = 5000) -> None:
    """Open the runs in the MLflow UI on 127.0.0.1.

    The table and the charts show what distinguishes the runs. Ctrl-C ends the server.

    Example: image-classifier ui --port 5000
    """
    from image_classifier.config.compose import load_params

    with gc_paused():
        from image_classifier.track.ui import open_ui

    open_ui(list(load_params().datasets), port)


@command
def backfill(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Restore the missing results, but record nothing.")
    ] = False,
) -> None:
    """Record in MLflow the results that only DVC has.

    Nothing is trained. The results come from the workspace, from git's history and from DVC experiments.

    Example: image-classifier backfill --dry-run
    """
    with gc_paused():
        from image_classifier.track.backfill import record_stored_results

    for line in record_stored_results(dry_run=dry_run):
        typer.echo(line)


@command
def add_data(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the data set and of its first run.")],
    source: Annotated[
        Path,
        typer.Option("--from", metavar="PATH", help="A folder of pictures or IDX files, a CSV file, or an .npz file."),
    ],
    size: Annotated[
        int | None, typer.Option(min=4, max=4096, help="Height and width of the images in pixels. Default: at most 64.")
    ] = None,
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Leave out pictures that cannot be read.")
    ] = False,
) -> None:
    """Add your own pictures as a data set.

    A folder has a subfolder for each class, or train/ and test/ with such subfolders. A CSV file has the columns path
    and label. The command shows classes, numbers, sizes and problems, and writes conf/data/NAME.yaml, the data set and
    a first run into params.yaml. The next dvc repro trains, evaluates and records it.

    Example: image-classifier add-data animals --from ~/animals
    """
    with gc_paused():
        from image_classifier import add_data

    add_data.add_data(name, source, side=size, skip_unreadable=skip_unreadable)


@command
def add_run(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="The ten digits that a sweep prints, or a folder of outputs/.")
    ],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the new row, and of new files in conf/.")],
) -> None:
    """Add the winner of a sweep, or an ad hoc run, to params.yaml.

    Values that no file of conf/optimizer/ or conf/training/ has go into new files there. The next dvc repro trains,
    evaluates and records the new row.

    Example: image-classifier add-run 0123456789 best
    """
    with gc_paused():
        from image_classifier.sweep import add_run

    add_run.add_run(source, name)


@command
def audit(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A data set of params.yaml.")],
    run: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Row of params.yaml whose configuration is trained. Default: the first one of the data set.",
            autocompletion=complete_run,
        ),
    ] = None,
    folds: Annotated[
        int, typer.Option(min=2, max=100, help="Trainings, each without another part of the training images.")
    ] = 5,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Chooses the parts, and is the seed of each training.")
    ] = 42,
) -> None:
    """Find suspect labels of a data set.

    The configuration of a run is trained several times, each time without another part of the training images. The
    command lists training labels that these networks contradict, and test labels that all recorded runs contradict. It
    writes reports/labels_DATA.md and .png. With five folds it takes as long as four trainings of the run.

    Example: image-classifier audit mnist --run adadelta_128
    """
    with tensorflow_import():
        from image_classifier.label_issues import audit_labels

    typer.echo(audit_labels(data, run, folds, seed))


if __name__ == "__main__":
    main()
