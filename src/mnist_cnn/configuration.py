"""Configuration: composed by Hydra, checked once, frozen."""

from difflib import get_close_matches
from pathlib import Path

import hydra
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, MissingMandatoryValue, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mnist_cnn.errors import InputError
from mnist_cnn.schema import (
    Adopt,
    Checked,
    Compare,
    Diagram,
    Doctor,
    Evaluate,
    Fetch,
    Prepare,
    Promote,
    Replicate,
    Row,
    Schema,
    Serve,
    Sync,
    Table,
    Track,
    Train,
    Verify,
    validate,
)

COMPOSITION_ERRORS = (HydraException, OmegaConfBaseException, yaml.YAMLError)


def resolve(schema: type[Schema], composed: DictConfig) -> Schema:
    """Check what Hydra composed; `InputError` as in `validate`."""
    try:
        return validate(schema, OmegaConf.to_container(composed, resolve=True, throw_on_missing=True))
    except MissingMandatoryValue as error:
        raise InputError(f"{error.full_key} has no value: give {error.full_key}=… on the command line.") from None


def compose(command: str, overrides: list[str], conf: Path) -> DictConfig:
    """Compose the configuration of a command without running it.

    Raises:
        InputError: Hydra cannot compose it.
    """
    try:
        GlobalHydra.instance().clear()  # a command composes its own configuration in the same process
        with hydra.initialize_config_dir(str(conf), version_base="1.3"):
            return hydra.compose(command, overrides)
    except COMPOSITION_ERRORS as error:
        raise explain(error, command, conf) from None


def load_table(path: Path) -> dict[str, Row]:
    """Read the documented runs from params.yaml.

    Raises:
        InputError: the file is missing, is not YAML, or does not fit `Table`.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path.name} is missing. Restore it: git checkout {path.name}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path.name} is not YAML: {' '.join(str(error).split())}") from None
    return validate(Table, values, origin=f"{path.name}: ").runs


def check_documented(run: str, table: dict[str, Row]) -> None:
    """Refuse a run that is not in the table.

    Raises:
        InputError: with the runs that are.
    """
    if run not in table:
        raise InputError(f"run={run} is not a row of params.yaml. Choose one of: {', '.join(table)}.")


def compose_run(run: str, row: Row, conf: Path) -> Train:
    """Compose the training of a row of params.yaml.

    Raises:
        InputError: a value of the row, or of a file that it names, cannot be used, or DVC would miss changes of it.
    """
    try:
        train = resolve(Train, compose("train", row.overrides(run), conf))
        _check_inherited(conf / "optimizer" / f"{row.optimizer}.yaml", [])
        _check_inherited(conf / "training" / f"{row.training}.yaml", ["default"])
    except InputError as error:
        raise InputError(f"params.yaml: runs.{run}: {error}") from None
    return train


def _check_inherited(file: Path, known: list[str]) -> None:
    """Refuse defaults that are no dependency in dvc.yaml: runs would not be trained again when they change."""
    inherited = yaml.safe_load(file.read_text()).get("defaults", [])
    if unknown := [str(name) for name in inherited if name not in ("_self_", *known)]:
        place = f"conf/{file.parent.name}/{file.name}"
        raise InputError(f"{place} inherits from {', '.join(unknown)}, whose changes DVC would miss. Copy its values.")


def check_commands(run: str, conf: Path) -> None:
    """Check conf/<command>.yaml of every stage and command.

    Args:
        run: a row of params.yaml, for the commands that need one.
        conf: the folder.

    Raises:
        InputError: a value cannot be used, or two stages are of different data or models.
    """
    of_run = [f"run={run}"]
    commands: dict[str, tuple[type[Checked], list[str]]] = {
        "fetch": (Fetch, []),
        "prepare": (Prepare, []),
        "diagram": (Diagram, []),
        "train": (Train, of_run),
        "evaluate": (Evaluate, of_run),
        "compare": (Compare, []),
        "track": (Track, of_run),
        "sync": (Sync, []),
        "promote": (Promote, of_run),
        "serve": (Serve, []),
        "adopt": (Adopt, ["sweep_id='0123456789'", "name=best"]),
        "replicate": (Replicate, [f"run=[{run}]"]),
        "doctor": (Doctor, []),
        "verify": (Verify, [f"run_id='{'0' * 32}'"]),
    }
    checked = {}
    for command, (schema, needed) in commands.items():
        try:
            checked[command] = resolve(schema, compose(command, needed, conf)).model_dump()
        except InputError as error:
            raise InputError(f"conf/{command}.yaml: {error}") from None
    for key, first, second in (("data", "fetch", "prepare"), ("model", "train", "diagram")):
        if checked[first][key] != checked[second][key]:
            raise InputError(f"conf/{second}.yaml: {key} should be that of conf/{first}.yaml")


def check(params: Path, conf: Path) -> dict[str, Row]:
    """Check params.yaml and all of conf/ that its runs use.

    Returns:
        The rows of params.yaml.

    Raises:
        InputError: a value cannot be used.
    """
    table = load_table(params)
    check_commands(next(iter(table)), conf)
    for run, row in table.items():
        compose_run(run, row, conf)
    return table


def documented(train: Train, table: dict[str, Row], conf: Path) -> bool:
    """Tell whether a training is a row of params.yaml.

    Raises:
        InputError: it bears the name of a row and differs from it.
    """
    if train.run not in table:
        return False
    if train != compose_run(train.run, table[train.run], conf):
        raise InputError(
            f"run={train.run} is a row of params.yaml with other values. "
            "Edit the row and type `dvc repro`, or choose another name for this run."
        )
    return True


def explain(error: Exception, command: str, conf: Path) -> InputError:
    """Say in one line what Hydra could not do, with the choices that there are."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        if group and error.options:
            choices = ", ".join(sorted(error.options))
            return InputError(f"Unknown {group} '{choice}'. Choose one of: {choices} (conf/{group}/).")
        return InputError(f"conf/{error.missing_cfg_file}.yaml is missing. Restore it: git checkout conf/")
    if isinstance(error, OverrideParseException):
        return InputError(f"Cannot read '{error.override}': give key=value, with quotes around special characters.")
    if (key := getattr(error.__cause__, "full_key", None)) and "not in struct" in str(error.__cause__):
        known = _keys(compose(command, [], conf))
        close = [name for name in known if name.split(".")[-1] == key] or get_close_matches(key, known, n=1)
        hint = f"Did you mean '{close[0]}'?" if close else f"Known keys: {', '.join(known)}."
        if key in known:
            hint = "Not every choice of the groups on the command line has it."
        return InputError(f"Unknown key '{key}'. {hint}")
    return InputError(" ".join(str(error).split()))


def _keys(composed: DictConfig, prefix: str = "") -> list[str]:
    names = []
    for key, value in composed.items_ex(resolve=False):
        name = prefix + str(key)
        names += _keys(value, f"{name}.") if isinstance(value, DictConfig) else [name]
    return names
