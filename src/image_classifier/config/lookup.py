"""Look-up of data sets and runs by name, and the check that prepared data fits its configuration."""

from pathlib import Path

from image_classifier import paths
from image_classifier.config.compose import load_params
from image_classifier.config.schema import Data, Row
from image_classifier.dataset import read_array, read_classes
from image_classifier.errors import InputError
from image_classifier.files import read_yaml
from image_classifier.paths import RunFiles


def find_source(data: str) -> Path:
    """Return the path of a data set in params.yaml.

    Raises:
        InputError: params.yaml is invalid, or does not have the data set.
    """
    params = load_params()
    return paths.ROOT / params.datasets[params.choose_data(data)].path


def select_runs(table: dict[str, Row], data: str) -> dict[str, Row]:
    """Return the rows of params.yaml that are trained on a data set.

    Raises:
        InputError: There is none.
    """
    if not (runs := {run: row for run, row in table.items() if row.data == data}):
        choices = ", ".join(dict.fromkeys(row.data for row in table.values()))
        raise InputError(f"data={data}: no row of params.yaml is trained on it. Choose one of: {choices}.")
    return runs


def check_prepared_data(data: Data) -> None:
    """Check that a prepared data set has the classes and the numbers of images that its file in conf/data/ asks for.

    Raises:
        FileNotFoundError: The prepared data set is missing.
        InputError: It has other classes or numbers of images, or a file is damaged. Or it is missing, and params.yaml
            does not have it, so that `dvc repro` would not make it.
    """
    folder = paths.prepared_data(data.name)
    if not folder.exists():
        load_params().choose_data(data.name)  # raises an error for a data set that `dvc repro` would not make
    place = folder.relative_to(paths.ROOT)
    conf = f"conf/data/{data.name}.yaml"
    again = f"Make it again: dvc repro prepare@{data.name}"
    shape = read_array(folder / "train_images.npy").shape[1:]
    if list(read_classes(folder)) != data.classes or shape != data.image_shape:
        raise InputError(f"{place} was prepared with other classes, or another image size, than {conf} has. {again}")
    for part, wanted in {"train": data.train_examples, "test": data.test_examples}.items():
        found = len(read_array(folder / f"{part}_labels.npy"))
        if wanted is not None and found != wanted:
            raise InputError(
                f"data.{part}_examples={wanted}: {place} has {found}. Write {part}_examples: {wanted} into {conf}, "
                f"then make it again: dvc repro prepare@{data.name}"
            )


def read_data_name(files: RunFiles) -> str:
    """Return the name of the data set that a run was trained on.

    Raises:
        FileNotFoundError: The run is not trained.
        InputError: Its config.yaml is damaged.
    """
    return read_yaml(files.configuration, lambda values: str(values["data"]))


def check_is_row(run: str, table: dict[str, Row]) -> None:
    """Raise `InputError`, which lists the rows of params.yaml, for a run that is not one of them."""
    if run not in table:
        raise InputError(f"run={run} is not a row of params.yaml. Choose one of: {', '.join(table)}.")


def find_run_files(run: str, table: dict[str, Row]) -> RunFiles:
    """Return the files of a row of params.yaml, or else of an ad hoc run that is trained to the end.

    Raises:
        InputError: There is no such run.
    """
    if run in table:
        return paths.pipeline_run(table[run].data, run)
    adhoc = paths.finished_adhoc_runs()
    if run not in adhoc:
        choices = ", ".join(dict.fromkeys([*table, *adhoc]))
        raise InputError(
            f"run={run} is not a row of params.yaml or a trained run in outputs/. Choose one of: {choices}."
        )
    return paths.adhoc_run(run)
