"""The winner of a sweep as a row of params.yaml."""

from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from mnist_cnn import configuration, training
from mnist_cnn.errors import InputError
from mnist_cnn.schema import Row, Train

# Every trial has these of its own; a documented run has its own, too.
OWN = ("run", "validation.", "training.threads", "library_defaults", "optimizer.")


@dataclass(frozen=True)
class Adoption:
    """What is to be written.

    Attributes:
        row: of params.yaml.
        optimizer: the text of a new file of conf/optimizer/, if none there says the same.
    """

    row: Row
    optimizer: str | None


def adopt(winner: dict[str, Any], name: str, origin: str, conf: Path) -> Adoption:
    """Express the configuration of a trial as a row, with an optimizer's file of that name if there is none like it.

    Args:
        winner: the complete configuration.
        name: of the row.
        origin: where it comes from, in words.
        conf: the folder.

    Raises:
        InputError: the configuration has something that a row cannot say, or the optimizer's file exists already.
    """
    optimizers, trainings = (
        sorted(file.stem for file in (conf / group).glob("*.yaml")) for group in ("optimizer", "training")
    )

    def row(optimizer: str, training: str) -> Row:
        return Row(optimizer=optimizer, batch_size=winner["batch_size"], epochs=winner["epochs"], training=training)

    unusual = {}
    for file in trainings:
        usual = _other_keys(_complete(row(optimizers[0], file), conf))
        others = _other_keys(winner).items()
        unusual[file] = [f"{key}={value}" for key, value in others if key not in usual or usual[key] != value]
    nearest = min(trainings, key=lambda file: len(unusual[file]))
    if unusual[nearest]:
        differing = ", ".join(unusual[nearest])
        raise InputError(f"A row of params.yaml cannot say {differing}. Set it in conf/ and sweep again.")
    for optimizer in optimizers:
        if _complete(row(optimizer, nearest), conf)["optimizer"] == winner["optimizer"]:
            return Adoption(row(optimizer, nearest), None)
    if name in optimizers:
        raise InputError(f"conf/optimizer/{name}.yaml exists and says something else. Choose another name.")
    adopted = row(name, nearest)
    command = " ".join(["python -m pipelines.train", *adopted.overrides(name)[1:]])
    header = f"# {command}\n#   {origin}\n"
    return Adoption(adopted, header + yaml.safe_dump(winner["optimizer"], sort_keys=False))


def add_row(table: str, name: str, row: Row) -> str:
    """Add a row to the text of params.yaml, whose comments stay.

    Raises:
        InputError: there is a row of that name.
    """
    editor = YAML()
    editor.width = 120
    values = editor.load(table)
    if name in values["runs"]:
        raise InputError(f"name={name} is a row of params.yaml already. Choose another name.")
    values["runs"][name] = CommentedMap(row.model_dump())
    values["runs"][name].fa.set_flow_style()
    stream = StringIO()
    editor.dump(values, stream)
    return stream.getvalue()


def _complete(row: Row, conf: Path) -> dict[str, Any]:
    train = configuration.resolve(Train, configuration.compose("train", row.overrides("adopted"), conf))
    optimizer = training.build_optimizer(**train.optimizer.model_dump())
    return training.complete_configuration(train.decisive(), optimizer)


def _other_keys(config: dict[str, Any]) -> dict[str, Any]:
    flat = pd.json_normalize(config).to_dict("records")[0]
    return {str(key): value for key, value in flat.items() if not str(key).startswith(OWN)}
