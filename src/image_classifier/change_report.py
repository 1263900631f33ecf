"""Report on the differences between a revision of git and the workspace, as Markdown for a pull request."""

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import git
import numpy as np
import pandas as pd
from dvc.repo import Repo
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep

from image_classifier import paths
from image_classifier.compare.plots import plot_curves
from image_classifier.compare.significance import IntervalFunction, RunTest, correct_tests, paired_test, verdict
from image_classifier.config.schema import Compare
from image_classifier.dataset import Arrays, read_arrays
from image_classifier.errors import InputError
from image_classifier.files import file_hashes, md5, read_json, read_text, read_yaml, translate_damage, write_figure
from image_classifier.markdown import markdown_table
from image_classifier.provenance.differences import find_differences, flatten
from image_classifier.provenance.fingerprint import data_name
from image_classifier.provenance.result import locked_stages, locked_trainings
from image_classifier.provenance.revision import checked_out

ABSENT = "-"
KEYS = ("key", "before", "after")
UNCHANGED = "unchanged: the same bytes"
MAX_MISTAKES = 10  # mistakes that are listed for each run
STALE = "dvc.lock is the same in both. If a stage depends on these changes, type `dvc repro`."
# Comments on GitHub show every line break, so each note is one line.
TESTS = (
    "Where images are counted, the exact McNemar test compares the answers for the same test images, with a bootstrap "
    "interval. Verdicts use Holm's correction for the number of tests, and intervals Bonferroni's. They are about "
    "these trained models and may change with the seed."
)
UNPAIRED = (
    "Not paired: {runs}. Predictions are not in DVC's cache, or the test images differ. Fisher's exact test and "
    "Newcombe's interval treat the test images of the two versions as different images, so they err towards finding no "
    "difference."
)

RunKey = tuple[str, str]  # names of a data set and of a run
StageRecord = tuple[dict[str, Any], dict[str, Any]]  # dependencies and outputs, with the values or the hash of each


class EvaluatedRun(NamedTuple):
    """An evaluated run: MD5 of predictions.npz, and test accuracy, number of test images and curves in reports/."""

    predictions: str
    accuracy: float
    examples: int
    curves: pd.DataFrame


class Version(NamedTuple):
    """A version of the project: values of params.yaml and conf/ by file, stages of dvc.lock, and evaluated runs."""

    values: dict[str, dict[str, Any]]
    stages: dict[str, StageRecord]
    outcomes: dict[RunKey, EvaluatedRun]


class RunChange(NamedTuple):
    """A run before and after: accuracies, verdict, test of after minus before, and result of `new_mistakes`."""

    accuracies: Sequence[float | None]
    verdict: str
    test: RunTest | None = None
    mistakes: Sequence[tuple[int, int, int, float]] = ()


def report_change(base: str, config: Compare, plots: Path | None) -> str:
    """Report the differences between a revision of git and the workspace, including uncommitted changes.

    Args:
        base: Revision of git.
        config: Settings of the tests; the significance level is 1 - `confidence`.
        plots: Folder that receives a picture of the curves for each data set; without it the report has a table.

    Returns:
        Markdown text, with links relative to the working directory.

    Raises:
        FileNotFoundError: The workspace has no dvc.lock, params.yaml or reports/comparison_DATA.json.
        InputError: git does not have the revision, one of these files is missing in it, or a file is damaged.
    """
    after = read_version(paths.ROOT)
    with checked_out(base) as root:
        versions = f"`{base}` (commit {git.Git(root).rev_parse('HEAD')[:10]}) and the workspace"
        try:
            before = read_version(root)
        except FileNotFoundError as error:
            missing = Path(error.filename).relative_to(root)
            raise InputError(f"{base} has no {missing}, so its results are unknown. Choose another --base.") from None
        except InputError as error:
            reason = str(error).rpartition(". ")[0]  # without the remedy, which is for the workspace
            reason = reason.replace(f"{root}{os.sep}", "").replace(f"{paths.ROOT}{os.sep}", "")
            raise InputError(f"{base}: {reason}. Choose another --base.") from None
        code = changed_code(root)
    values, stages = changed_values(before.values, after.values), changed_stages(before.stages, after.stages)
    if not (values or code or stages):
        return f"Configuration, code and results are the same in {versions}."
    runs = compare_versions(before, after, config)
    changed = {run: change for run, change in runs.items() if change.verdict != UNCHANGED}
    sections = {
        "Configuration": markdown_table([dict(zip(KEYS, map(_code, value), strict=True)) for value in values]),
        "Code": "; ".join(f"`{path}` ({', '.join(names)})" for path, names in code.items()),
        "Stages": markdown_table(stages) or STALE,
        "Test accuracy": _format_accuracies(runs, config.confidence),
        "Curves": _format_curves(changed, {"before": before, "after": after}, config.confidence, plots),
        "New mistakes": _format_mistakes(changed),
    }
    text = "\n\n".join(f"## {title}\n\n{content}" for title, content in sections.items() if content)
    return f"# Results of the change\n\nThis report compares {versions}.\n\n{text}"


def read_version(root: Path) -> Version:
    """Read a version from a copy of the project that needs only the files in git.

    Raises:
        FileNotFoundError: A file is missing.
        InputError: A file is damaged.
    """
    params, lock = (root / file.relative_to(paths.ROOT) for file in (paths.PARAMS, paths.DVC_LOCK))
    values = {}
    for file in (params, *sorted((root / "conf").rglob("*.yaml"))):
        entries = read_yaml(file, flatten).items()
        name = file.relative_to(root).as_posix()
        values[name] = {key: value for key, value in entries if not key.startswith("hydra.help.")}
    locked = read_text(lock)
    trainings = locked_trainings(locked, read_text(params))
    with translate_damage(lock):
        stages = {name: _read_stage(stage) for name, stage in locked_stages(locked).items()}
    outcomes = {}
    for run, training in trainings.items():
        data = data_name(training["deps"])
        with translate_damage(lock):
            predictions = stages[f"evaluate@{run}"][1][f"runs/{data}/{run}/predictions.npz"]
        with translate_damage(report := paths.comparison(data, "json", root)):
            content = json.loads(report.read_bytes())
            curves = pd.DataFrame(content["epochs"][run]).set_index("epoch")[["loss", "val_accuracy"]].astype(float)
            accuracy = float(content["runs"][run]["test_accuracy"]["value"])
            outcomes[data, run] = EvaluatedRun(predictions, accuracy, int(content["test_examples"]), curves)
    return Version(values, stages, outcomes)


def _read_stage(stage: Mapping[str, Any]) -> StageRecord:
    deps, outs = ({file["path"]: file["md5"] for file in stage.get(kind, [])} for kind in ("deps", "outs"))
    return {"command": stage["cmd"], **stage.get("params", {}), **deps}, outs


def changed_values(
    before: Mapping[str, dict[str, Any]], after: Mapping[str, dict[str, Any]]
) -> list[tuple[str, Any, Any]]:
    """Return file and key, old and new value of each difference; a new or removed file is one difference."""
    changed: list[tuple[str, Any, Any]] = []
    for file in sorted({**before, **after}):
        if file in before and file in after:
            differences = find_differences(before[file], after[file], ABSENT)
            changed += [(f"{file}: {key}", old, new) for key, old, new in differences]
        else:
            changed.append((file, "file", ABSENT) if file in before else (file, ABSENT, "file"))
    return changed


def changed_code(root: Path) -> dict[str, list[str]]:
    """Return code of dvc.yaml that differs between another copy of the project and the workspace, with its stages."""
    changed: dict[str, list[str]] = {}
    stages = read_yaml(
        paths.DVC_YAML,
        lambda values: {name: entry.get("do", entry)["deps"] for name, entry in values["stages"].items()},
    )
    for stage, dependencies in stages.items():
        code = [path for path in dependencies if path.startswith(("src/", "pipelines/"))]
        for path, *_ in find_differences(file_hashes(root, code), file_hashes(paths.ROOT, code), ABSENT):
            changed.setdefault(path, []).append(stage)
    return changed


def changed_stages(before: Mapping[str, StageRecord], after: Mapping[str, StageRecord]) -> list[dict[str, str]]:
    """Return a row for each stage whose dependencies or outputs differ, with their names."""
    rows = []
    for stage in {**after, **before}:
        sides = zip(before.get(stage, ({}, {})), after.get(stage, ({}, {})), strict=True)
        deps, outs = (", ".join(_code(name) for name, *_ in find_differences(*side, ABSENT)) for side in sides)
        if deps or outs:
            state = " (removed)" if stage not in after else " (new)" if stage not in before else ""
            rows.append({"stage": _code(stage) + state, "changed dependencies": deps, "changed outputs": outs})
    return rows


def compare_versions(before: Version, after: Version, config: Compare) -> dict[RunKey, RunChange]:
    """Compare each run of two versions; the corrections cover the tests of all runs."""
    runs, tests = {}, {}
    with Repo(str(paths.ROOT)) as repository:
        for run in {**after.outcomes, **before.outcomes}:
            runs[run], test = _compare(run, before.outcomes.get(run), after.outcomes.get(run), repository)
            if test:
                tests[run] = test
    for run, corrected in zip(tests, correct_tests(list(tests.values()), config.confidence), strict=True):
        runs[run] = runs[run]._replace(test=corrected, verdict=verdict(corrected, config.confidence, config.margin))
    return runs


def _compare(
    run: RunKey, before: EvaluatedRun | None, after: EvaluatedRun | None, repository: Repo
) -> tuple[RunChange, tuple[RunTest, IntervalFunction] | None]:
    """Return a run before and after, and the test of its accuracies, after minus before, unless they are the same."""
    accuracies = [side.accuracy if side else None for side in (before, after)]
    if before is None or after is None:
        return RunChange(accuracies, "removed" if before else "new"), None
    if before.predictions == after.predictions:
        return RunChange(accuracies, UNCHANGED), None
    old, new = (_read_predictions(run, side.predictions, repository) for side in (before, after))
    if not (old and new and np.array_equal(old["labels"], new["labels"])):
        counts = [(round(side.accuracy * side.examples), side.examples) for side in (after, before)]
        return RunChange(accuracies, ""), unpaired_test(counts[0], counts[1])
    was_right, is_right = (side["probabilities"].argmax(axis=1) == side["labels"] for side in (old, new))
    test = paired_test("after", "before", is_right, was_right)
    mistakes = new_mistakes(old["probabilities"], new["probabilities"], new["labels"])
    return RunChange([float(was_right.mean()), float(is_right.mean())], "", mistakes=mistakes), test


def _read_predictions(run: RunKey, expected_md5: str, repository: Repo) -> Arrays | None:
    for file in (paths.pipeline_run(*run).predictions, Path(repository.cache.local.oid_to_path(expected_md5))):
        if file.exists() and md5(file.read_bytes()) == expected_md5:
            return read_arrays(file, ("probabilities", "labels"))
    return None


def unpaired_test(first: tuple[int, int], second: tuple[int, int]) -> tuple[RunTest, IntervalFunction]:
    """Test the difference of two accuracies, first minus second, as if they were measured on different images.

    The p-value is that of Fisher's exact test; the interval is Newcombe's (1998).

    Args:
        first: Number of correct images and number of all images of the first version.
        second: The same numbers of the second version.
    """

    def interval(level: float) -> tuple[float, float]:
        ends = confint_proportions_2indep(*first, *second, method="newcomb", compare="diff", alpha=1 - level)
        return float(ends[0]), float(ends[1])

    p_value = stats.fisher_exact([(right, examples - right) for right, examples in (first, second)]).pvalue
    return {"difference": first[0] / first[1] - second[0] / second[1], "p_value": float(p_value)}, interval


def new_mistakes(before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> list[tuple[int, int, int, float]]:
    """Return the most confident mistakes, at most `MAX_MISTAKES`, among images that were classified correctly before.

    Args:
        before: Class probabilities before the change, (n, classes).
        after: Class probabilities after the change, (n, classes).
        labels: Labels, (n,).

    Returns:
        Position of each image, its label, the answer, and the probability of the answer.
    """
    answers, confidences = after.argmax(axis=1), after.max(axis=1)
    lost = np.flatnonzero((before.argmax(axis=1) == labels) & (answers != labels))
    worst = lost[np.argsort(-confidences[lost], kind="stable")][:MAX_MISTAKES]
    return [(int(i), int(labels[i]), int(answers[i]), float(confidences[i])) for i in worst]


def _code(value: Any) -> str:
    """Return a value as code in a cell of a table."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return ABSENT if value == ABSENT else f"`{' '.join(text.split())}`".replace("|", r"\|")


def _format_accuracies(runs: Mapping[RunKey, RunChange], confidence: float) -> str:
    rows = []
    for (data, run), change in runs.items():
        before, after = (ABSENT if value is None else f"{value:.2%}" for value in change.accuracies)
        test = change.test or {}
        rows.append(
            {
                "data set": _code(data),
                "run": _code(run),
                "before": before,
                "after": after,
                "difference": f"{test['difference']:+.2%}" if test else None,
                f"{100 * confidence:g}% interval": f"{test['low']:+.2%} to {test['high']:+.2%}" if test else None,
                "newly right": test.get("only_first"),
                "newly wrong": test.get("only_second"),
                "verdict": change.verdict,
            }
        )
    tests = {_code(run): change.test for (_, run), change in runs.items() if change.test}
    unpaired = ", ".join(run for run, test in tests.items() if "examples" not in test)
    notes = (TESTS if tests else "", UNPAIRED.format(runs=unpaired) if unpaired else "")
    return "\n\n".join(filter(None, (markdown_table(rows), *notes)))


def _format_curves(
    runs: Iterable[RunKey], versions: Mapping[str, Version], confidence: float, plots: Path | None
) -> str:
    """Return a table of the values after the last epoch, or links to pictures in the folder `plots`."""
    rows, curves = [], defaultdict[str, dict[str, pd.DataFrame]](dict)
    for data, run in runs:
        for name, version in versions.items():
            if outcome := version.outcomes.get((data, run)):
                curves[data][f"{run} {name}"] = outcome.curves
                loss, accuracy = outcome.curves.iloc[-1]
                last = {"epochs": len(outcome.curves), "loss": f"{loss:.4f}", "validation accuracy": f"{accuracy:.2%}"}
                rows.append({"data set": _code(data), "run": f"{_code(run)} {name}", **last})
    if plots is None:
        return markdown_table(rows)
    links = []
    for data, data_curves in curves.items():
        write_figure(file := plots / f"curves_{data}.png", plot_curves(data_curves, {}, {}, confidence))
        links.append(f"![Loss and validation accuracy on {data}]({Path(os.path.relpath(file)).as_posix()})")
    return "\n\n".join(links)


def _format_mistakes(changes: Mapping[RunKey, RunChange]) -> str:
    tables = []
    for (data, run), change in changes.items():
        if change.mistakes:
            report = paths.dataset_report(data)
            classes = read_json(report, lambda description: [_code(str(name)) for name in description["classes"]])
            rows = [
                {
                    "test image": i,
                    "class": classes[label],
                    "answer": classes[answer],
                    "probability": f"{probability:.4f}",
                }
                for i, label, answer, probability in change.mistakes
            ]
            tables.append(f"### {_code(run)} on {_code(data)}\n\n{markdown_table(rows)}")
    return "\n\n".join(tables)
