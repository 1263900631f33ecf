"""The best trial of a sweep, or an ad hoc run, as a row of params.yaml."""

import re
import shlex
from typing import Any

import yaml

from image_classifier import environment, paths
from image_classifier.config.compose import compose, load_conf_file, load_params, resolve
from image_classifier.config.edit import add_to_params, check_new_name
from image_classifier.config.schema import Params, Row, Train
from image_classifier.errors import InputError
from image_classifier.files import write_text
from image_classifier.provenance.fingerprint import TrainingInput
from image_classifier.sweep.plan import COMMAND

NewFiles = dict[str, dict[str, Any]]  # values of new files of conf/, by group


def add_run(source: str, name: str) -> None:
    """Add a trained configuration to params.yaml, and files of conf/ for its values that no file has.

    Args:
        source: Name of an ad hoc run, or the fingerprint of a sweep, whose best trial is added. A name wins.
        name: Name of the new row and of the new files in conf/optimizer/ and conf/training/.

    Raises:
        InputError: A name is invalid or taken, there is no such run or sweep, or a row cannot express the training.
    """
    is_adhoc = source in paths.finished_adhoc_runs()
    if not is_adhoc and not re.fullmatch(r"[0-9a-f]{10}", source):
        choices = "the 10 hexadecimal digits that a sweep printed, or a trained run in outputs/"
        raise InputError(f"SOURCE={source}: should be {choices}.")
    check_new_name(name)
    params = load_params()
    if name in params.runs:
        raise InputError(f"NAME={name} is a row of params.yaml already. Choose another name.")
    training, origin = _read_adhoc_run(source) if is_adhoc else _read_best_trial(source, params)
    config = training.config
    row, new_files = express_as_row(config, training.command, name, own_threads=is_adhoc)
    for group, values in new_files.items():
        file = paths.CONF / group / f"{name}.yaml"
        if file.exists() and load_conf_file(file) != values:
            raise InputError(f"conf/{group}/{name}.yaml exists with other values. Choose another name.")
    header = f"# {shlex.join([*COMMAND, *row.overrides(name)[1:]])}\n#   {origin}\n"
    for group, values in new_files.items():
        write_text(paths.CONF / group / f"{name}.yaml", header + yaml.safe_dump(values, sort_keys=False))
        print(f"Wrote conf/{group}/{name}.yaml")
    add_to_params(runs={name: row})
    print(f"Wrote the row {name} of params.yaml. Train, evaluate and record it: dvc repro")


def _read_adhoc_run(run: str) -> tuple[TrainingInput, str]:
    """Return the input of an ad hoc run, and a line about its origin."""
    from image_classifier.provenance.result import read_result

    return read_result(run).input, f"Values of the ad hoc run {run}."


def _read_best_trial(sweep_id: str, params: Params) -> tuple[TrainingInput, str]:
    """Return the input of the best trial of a sweep, and a line about its origin."""
    with environment.gc_paused():
        from image_classifier.track.store import Store
        from image_classifier.track.sweeps import find_best_trial

    best = find_best_trial([Store(data) for data in params.datasets], sweep_id)
    accuracy = best.history["val_accuracy"].iloc[-1]
    return best.input, f"Best trial of sweep {sweep_id}: {accuracy:.2%} of its held-out images."


def express_as_row(config: dict[str, Any], command: str, name: str, *, own_threads: bool) -> tuple[Row, NewFiles]:
    """Express the configuration of a training as a row of params.yaml, which validates on the test images.

    Args:
        config: Complete configuration of the training.
        command: Command line of the training.
        name: Name of the row, and of the new files.
        own_threads: Whether the row keeps the training's number of threads. For a trial of a sweep it does not:
            `sweep.cpus_per_trial` set that number.

    Returns:
        The row, and the values of the new files. A group has a new file if the file that the training started from has
        other values than the training.

    Raises:
        InputError: The training has another model than a row.
    """
    train = load_conf_file(paths.CONF / "train.yaml")
    choices = {
        group: choice for entry in train["defaults"] if isinstance(entry, dict) for group, choice in entry.items()
    }
    for argument in shlex.split(command):  # the command line wins over conf/train.yaml
        group, _, choice = argument.partition("=")
        choices[group] = choice
    row = Row(
        data=config["data"],
        model=choices["model"],
        optimizer=choices["optimizer"],
        batch_size=config["batch_size"],
        epochs=config["epochs"],
        training=choices["training"],
    )
    composed = resolve(Train, compose("train", row.overrides(name))).fingerprint_config()
    if config["model"] != composed["model"]:
        raise InputError(
            "A row of params.yaml cannot express changed layers. Write them to a file of conf/model/, and train again."
        )
    with environment.tensorflow_import():
        from image_classifier.train.optimizer import build_optimizer, complete_config

    complete = complete_config(composed, build_optimizer(composed["optimizer"]))
    settings = dict(config["training"])
    known = composed["training"]
    if not own_threads:
        settings["intra_op_threads"] = known["intra_op_threads"]
    new_files: NewFiles = {}
    if config["optimizer"] != complete["optimizer"]:
        new_files["optimizer"] = config["optimizer"]
    if settings != known:
        default = load_conf_file(paths.CONF / "training/default.yaml")
        changed = {key: value for key, value in settings.items() if value != default[key]}
        new_files["training"] = {"defaults": ["default", "_self_"], **changed}
    return row.model_copy(update=dict.fromkeys(new_files, name)), new_files
