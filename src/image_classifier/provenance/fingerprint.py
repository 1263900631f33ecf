"""Fingerprints of a training: digests of the configuration, data and code that decide its result."""

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import yaml

from image_classifier import paths
from image_classifier.files import digest, file_hashes, read_yaml

# Settings of conf/training/ that replicates share; the others are the seed, the number of threads, and speed.
RECIPE_SETTINGS = ("loss", "precision", "max_shift_px", "label_smoothing")


@dataclass(frozen=True)
class TrainingInput:
    """Everything that decides a training.

    Attributes:
        run: Name of the run.
        command: Command line that starts the training.
        configuration: Text of its config.yaml, which includes the values that Keras chose.
        files: Path and hash of its data and code, see `file_hashes`. The values of conf/ are in `configuration`.
    """

    run: str
    command: str
    configuration: str
    files: dict[str, str]

    @property
    def data(self) -> str:
        """Name of the data set."""
        return data_name(self.files)

    @property
    def config(self) -> dict[str, Any]:
        """Values of the configuration."""
        config: dict[str, Any] = yaml.safe_load(self.configuration)
        return config

    @property
    def fingerprint(self) -> str:
        """Digest of the configuration, the data and the code."""
        return digest([self.configuration, self.files])


def training_files(data: str) -> dict[str, str]:
    """Hash the data and code of a training in this workspace, which are the dependencies of `train` in dvc.yaml.

    Args:
        data: Name of the data set.

    Raises:
        FileNotFoundError: A file or folder is missing.
        InputError: dvc.yaml is damaged.
    """
    dependencies: list[str] = read_yaml(
        paths.DVC_YAML,
        lambda values: [path.replace("${item.data}", data) for path in values["stages"]["train"]["do"]["deps"]],
    )
    hashes = file_hashes(paths.ROOT, dependencies)
    for path in dependencies:
        if path not in hashes:
            raise FileNotFoundError(path)
    return hashes


def data_name(files: Iterable[str]) -> str:
    """Return the name of the data set from the paths of a training's data and code."""
    return next(PurePath(path).stem for path in files if path.startswith(paths.PREPARED))


def data_hash(files: Mapping[str, str]) -> str:
    """Return the hash of the data set from the hashes of a training's data and code."""
    return next(md5 for path, md5 in files.items() if path.startswith(paths.PREPARED))


def code_hashes(files: Mapping[str, str]) -> dict[str, str]:
    """Return the hashes of the code from the hashes of a training's data and code."""
    return {path: md5 for path, md5 in files.items() if not path.startswith(paths.PREPARED)}


def code_fingerprint(root: Path, files: Iterable[str]) -> str:
    """Return a digest of the meaning of Python code.

    It covers the syntax trees of the modules without docstrings, comments, formatting and imports within the project.
    Editing one of these, or moving or renaming a module, therefore keeps the fingerprint.

    Args:
        root: Project folder.
        files: Paths of modules and of folders with modules, relative to `root`.
    """
    modules = [
        module for path in files for module in ([root / path] if path.endswith(".py") else root.glob(f"{path}/**/*.py"))
    ]
    return digest(sorted(digest(_syntax_tree(ast.parse(module.read_text(encoding="utf-8")))) for module in modules))


def _syntax_tree(node: Any) -> Any:
    """Return a syntax tree as nested lists. Empty fields are left out, because they depend on the Python version."""
    if isinstance(node, list):
        return [_syntax_tree(item) for item in node if not _is_meaningless(item)]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if value is not None and value != []}
    return [type(node).__name__, {name: _syntax_tree(value) for name, value in fields.items()}]


def _is_meaningless(statement: Any) -> bool:
    if isinstance(statement, ast.ImportFrom):
        return (statement.module or "").startswith("image_classifier")
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def recipe_fingerprint(configuration: dict[str, Any], data: str, code: str) -> str:
    """Return a digest of everything that a training shares with its replicates.

    Name, seed, number of threads and speed settings are not part of it.

    Args:
        configuration: Values of a config.yaml.
        data: Hash of the prepared data set.
        code: `code_fingerprint` of the training code.
    """
    excluded = ("run", "training", "library_defaults")
    shared = {key: value for key, value in configuration.items() if key not in excluded}
    settings = {key: configuration["training"].get(key) for key in RECIPE_SETTINGS}
    return digest([data, code, shared, settings])


def workspace_recipe(configuration: dict[str, Any], files: dict[str, str]) -> str | None:
    """Return the recipe fingerprint of a training, or None if its code is not that of this workspace.

    Args:
        configuration: Values of its config.yaml.
        files: Hashes of its data and code.
    """
    data = data_hash(files)
    code = code_hashes(files)
    if file_hashes(paths.ROOT, code) != code:
        return None
    return recipe_fingerprint(configuration, data, code_fingerprint(paths.ROOT, code))


def workspace_recipes(data: str, runs: Iterable[str]) -> dict[str, str]:
    """Return the recipe fingerprint of each trained pipeline run, with the data and code of this workspace.

    Args:
        data: Name of the data set.
        runs: Runs that are trained on it.

    Raises:
        FileNotFoundError: A run is not trained, or the data is missing.
        InputError: dvc.yaml or the config.yaml of a run is damaged.
    """
    files = training_files(data)
    code = code_fingerprint(paths.ROOT, code_hashes(files))

    def fingerprint(config: dict[str, Any]) -> str:
        return recipe_fingerprint(config, data_hash(files), code)

    return {run: read_yaml(paths.pipeline_run(data, run).configuration, fingerprint) for run in runs}
