"""The best trial of a sweep as a row of params.yaml."""

import re
import shlex
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from image_classifier import environment, paths
from image_classifier.config.compose import compose, load_table, load_tracking, load_yaml, resolve
from image_classifier.config.schema import Row, Train
from image_classifier.errors import InputError
from image_classifier.files import atomic_write
from image_classifier.sweep.plan import COMMAND


def add_run(sweep_id: str, name: str) -> None:
    """Add the best trial of a sweep to params.yaml, and its optimizer to conf/optimizer/ if its values are new.

    Args:
        sweep_id: Fingerprint of the sweep, which the sweep prints.
        name: Name of the new row.

    Raises:
        InputError: A name is invalid or taken, there is no such sweep, or a row cannot express the best trial.
    """
    if not re.fullmatch(r"[0-9a-f]{10}", sweep_id):
        raise InputError(f"SWEEP={sweep_id}: should be the 10 hexadecimal digits that the sweep printed.")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}", name):  # see `RunName`
        raise InputError(f"NAME={name}: should have at most 100 letters, digits, _ and -, and not begin with -.")
    if name in load_table():
        raise InputError(f"NAME={name} is a row of params.yaml already. Choose another name.")
    experiment = load_tracking().experiment
    with environment.gc_paused():
        from image_classifier.track.store import Store
        from image_classifier.track.sweeps import find_best_trial

    best = find_best_trial(Store(experiment), sweep_id)
    row, optimizer = express_as_row(yaml.safe_load(best.input.configuration), best.input.command, name)
    if optimizer:
        accuracy = best.history["val_accuracy"].iloc[-1]
        command = shlex.join([*COMMAND, *row.overrides(name)[1:]])
        header = f"# {command}\n#   Best trial of sweep {sweep_id}: {accuracy:.2%} of its held-out images.\n"
        with atomic_write(paths.CONF / "optimizer" / f"{name}.yaml") as path:
            path.write_text(header + yaml.safe_dump(optimizer, sort_keys=False), encoding="utf-8")
        print(f"Wrote conf/optimizer/{name}.yaml")
    editor = YAML()  # keeps comments
    editor.width = 120
    params = editor.load(paths.PARAMS.read_text(encoding="utf-8"))
    params["runs"][name] = CommentedMap(row.model_dump())
    params["runs"][name].fa.set_flow_style()
    with atomic_write(paths.PARAMS) as path:
        editor.dump(params, path)
    print(f"Wrote the row {name} of params.yaml. Train, evaluate and record it: dvc repro")


def express_as_row(config: dict[str, Any], command: str, name: str) -> tuple[Row, dict[str, Any] | None]:
    """Express the configuration of a trial as a row of params.yaml.

    Args:
        config: Complete configuration of the trial.
        command: Command line of the trial.
        name: Name of the row, and of a new file in conf/optimizer/ if the trial has other values than its own file.

    Returns:
        The row, and the values of the new file or None.

    Raises:
        InputError: A row cannot express a value, or the new file exists already.
    """
    train: Any = load_yaml(paths.CONF / "train.yaml")
    choices = {
        group: choice for entry in train["defaults"] if isinstance(entry, dict) for group, choice in entry.items()
    }
    choices |= dict(argument.partition("=")[::2] for argument in shlex.split(command))
    optimizer, training = choices["optimizer"], choices["training"]
    row = Row(optimizer=optimizer, batch_size=config["batch_size"], epochs=config["epochs"], training=training)
    composed = resolve(Train, compose("train", row.overrides(name))).fingerprint_config()
    known = {**composed["training"], "intra_op_threads": config["training"]["intra_op_threads"]}
    different = [f"training.{key}={value}" for key, value in config["training"].items() if known[key] != value]
    if config["model"] != composed["model"]:
        different.append("another model")
    if different:
        raise InputError(
            f"A row of params.yaml cannot express {', '.join(different)}. Set it in conf/ and sweep again."
        )
    if composed["optimizer"].items() <= config["optimizer"].items():
        return row, None
    if (paths.CONF / "optimizer" / f"{name}.yaml").exists():
        raise InputError(f"conf/optimizer/{name}.yaml exists with other values. Choose another name.")
    return row.model_copy(update={"optimizer": name}), config["optimizer"]
