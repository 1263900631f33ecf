"""Report on all pipeline runs, for programs (JSON) and readers (Markdown)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from image_classifier import paths
from image_classifier.compare import environments, predictions, seeds, significance
from image_classifier.compare.plots import plot_curves
from image_classifier.compare.published_logs import find_label, judge_label, match_logs
from image_classifier.config.schema import Compare, Row
from image_classifier.dataset import load_examples
from image_classifier.files import read_histories, read_history, read_json, read_yaml
from image_classifier.markdown import markdown_table

METRIC_TITLES = {
    "val_accuracy": "Validation accuracy",
    "accuracy": "Training accuracy",
    "val_loss": "Validation loss",
    "loss": "Training loss",
}
DIGITS = 10  # significant digits in the JSON file
SETTINGS = ("model", "optimizer", "batch_size", "epochs", "training")  # columns of the results, see `Row`
CONCLUSIONS = {
    "rejected": "**The label is rejected**: the log's first loss does not fit the seeds of this run (corrected p = "
    "{adjusted:.2g}).",
    "not rejected": "The log is consistent with its label (p = {adjusted:.2g}).",
    "untested": "The label is not tested: no run of this name has replicates and at least as many epochs as the log.",
}

# `image-classifier results` prints the text before the first "## ".
PAGE = """\
# Pipeline runs on {data}

{results}

{smoothing}\
Each row is a single run with one seed, evaluated on {examples:,} test images. The intervals (Wilson) cover the noise of
the test images, not the noise of the seeds.

## Over the seeds

{seeds}

## Every two single runs

{paired_tests}

![Training loss and validation accuracy by epoch](comparison_{data}.png)
{logs}
## Epoch by epoch

{epochs}
"""

PAIRED_TESTS = """\
{tests}

The exact McNemar test uses the images that only one of the two runs classifies correctly. The intervals are bootstrap
intervals over the images. A verdict is about these trained models and may change with the seed and with the
processor."""

SEEDS_TESTS = """\
{tests}

Welch's t test compares the means of the seeds, on the same test images. A verdict is about the configurations. "At most
{margin:.2%} worse" and "equal within {margin:.2%}" mean that the interval excludes greater differences, and "within
noise" that the seeds decide nothing. *Seeds needed*: seeds of each run that show a difference of {margin:.2%} with a
power of {power:.0%}, as an interval because the standard deviation is an estimate."""

CORRECTION = """\
P-values have Holm's correction for the number of tests in a table, and intervals Bonferroni's: all intervals of a
column hold together with the confidence of its heading. Holm's correction is less strict, so an interval can include 0
although the p-value is significant."""

CROSSED = """\
*Interval, other images*: interval of the difference for other seeds and other test images of the same kind, from a
bootstrap over both (Owen 2007). It has the correction of the other interval and contains it, because Welch's test is
about these test images only. It errs towards a wide interval."""

LOGS = """
## The notebook's published logs

Each log is compared with each run that has at least as many epochs, at several lags: epoch k of the log with epoch
k + lag of the run. A label claims the run of that name at lag 0. The closest losses come first.

- *Loss ratio*: typical factor between the losses of log and run. A ratio of 1 means equal losses.
- *Log's first loss*: training loss of the log's first epoch. The interval is the prediction interval of one more seed
  of the run for this epoch: Student's t distribution of the logarithm of the loss.
- *p-value*: two-sided p-value of the log's first loss in the same distribution.
- *Corrected*: p-value with Holm's correction. The labels are tested first; all other rows of all logs are tested if
  every label is rejected (serial gatekeeping). A row that is not rejected is not thereby likely: read the p-value with
  the loss ratio.
- *Rank p-value*: share of the curves, those of the seeds and the log, that are at least as far from the mean of all
  others as the log. With n seeds it is at least 1 / (n + 1), so that a few seeds cannot reject a run by rank.

{logs}
"""


SMOOTHING = """\
\\* Trained with label smoothing, which raises the loss. It can be compared with the losses of runs that have the same
smoothing.

"""


def compare_runs(
    table: Mapping[str, Row], recipes: Mapping[str, str | None], config: Compare
) -> tuple[dict[str, Any], Figure]:
    """Compare the pipeline runs of a data set with each other and with the logs that were published for it.

    Args:
        table: Rows of params.yaml that are trained on the data set, by run.
        recipes: Recipe fingerprint of each run, which decides its replicates.
        config: Data set, and settings of the tests; the significance level is 1 - `confidence`.

    Returns:
        The report as JSON types, and a plot of the histories of all runs and published logs with the prediction
        intervals of the runs.

    Raises:
        FileNotFoundError: The data set is not prepared, or a run is not trained or not evaluated.
        InputError: A file is damaged, or a run has predictions for other test images.
    """
    data, confidence = config.data.name, config.confidence
    files = {run: paths.pipeline_run(data, run) for run in table}
    histories = {run: read_history(file.history) for run, file in files.items()}
    test = load_examples(paths.prepared_data(data), "test")
    correct = {
        run: predictions.read_probabilities(file.predictions, test).argmax(axis=1) == test.labels
        for run, file in files.items()
    }
    published = {}
    if (logs := paths.published_history(data)).exists():
        by_log = read_histories(logs, run=str).groupby("run", sort=False)
        published = {log: history.set_index("epoch") for log, history in by_log}
    recorded = seeds.read_replicates(paths.REPLICATES)
    replicates = seeds.select_replicates(recorded, recipes)
    selection = seeds.describe_selection(recorded, recipes, replicates)
    correct_by_seed = predictions.correct_images(replicates, paths.REPLICATES_PREDICTIONS, test.labels)
    accuracies = {run: seeds.final_accuracies(replicate) for run, replicate in replicates.items()}
    matches = match_logs(published, histories, replicates, config.max_epoch_lag, confidence)
    curves = {**histories, **{f"published {log}": history for log, history in published.items()}}
    report = {
        "data": data,
        "confidence": confidence,
        "margin": config.margin,
        "test_examples": len(test),
        "runs": {
            run: {
                **row.model_dump(exclude={"data"}),
                "test_accuracy": significance.estimate_accuracy(correct[run], confidence),
                "test_loss": read_json(files[run].metrics, lambda values: float(values["test_loss"])),
                "label_smoothing": read_yaml(
                    files[run].configuration, lambda values: float(values["training"]["label_smoothing"])
                ),
            }
            for run, row in table.items()
        },
        "paired_tests": significance.paired_tests(correct, confidence),
        "seeds": {run: values.to_dict() for run, values in accuracies.items()},
        "seeds_selection": selection,
        "seeds_environments": environments.format_selected(selection, paths.REPLICATES_ENVIRONMENTS),
        "seeds_tests": significance.seeds_tests(accuracies, confidence, correct_by_seed),
        "seeds_without_predictions": predictions.format_missing(replicates, correct_by_seed),
        "published_logs": {
            log: {"label": judge_label(log, found, 1 - confidence), "matches": found} for log, found in matches.items()
        },
        "epochs": {
            name: history.reset_index()[["epoch", *METRIC_TITLES]].to_dict("list") for name, history in curves.items()
        },
    }
    bands = seeds.prediction_intervals(replicates, confidence)
    return _round(report), plot_curves(histories, bands, published, confidence)


def _round(report: dict[str, Any]) -> dict[str, Any]:
    """Round all numbers: the last bits of logarithms depend on the instructions of the processor."""
    rounded: dict[str, Any] = json.loads(
        json.dumps(report), parse_float=lambda number: float(f"{float(number):.{DIGITS}g}")
    )
    return rounded


def format_report(report: Mapping[str, Any]) -> str:
    """Return a report from `compare_runs` as a Markdown page."""
    confidence = report["confidence"]
    logs = "\n\n".join(_format_log(log, confidence, **verdict) for log, verdict in report["published_logs"].items())
    return PAGE.format(
        data=report["data"],
        results=_results_table(report["runs"], confidence),
        smoothing=SMOOTHING if any(run["label_smoothing"] for run in report["runs"].values()) else "",
        examples=report["test_examples"],
        seeds=_format_seeds(report),
        paired_tests=_format_paired_tests(report),
        logs=LOGS.format(logs=logs) if logs else "",
        epochs="\n\n".join(_epochs_section(report["epochs"], metric) for metric in METRIC_TITLES),
    )


def _format_seeds(report: Mapping[str, Any]) -> str:
    """Return the accuracies over the seeds, their tests, and notes on the tests."""
    accuracies = {run: pd.Series(values) for run, values in report["seeds"].items()}
    if not accuracies:
        return "These runs have no replicates. Train some: `image-classifier replicate RUN`"
    confidence, margin = report["confidence"], report["margin"]
    selection, tests = report["seeds_selection"], report["seeds_tests"]
    paragraphs = [seeds.format_summary(accuracies, confidence, selection, report["seeds_environments"])]
    if tests:
        table = _tests_table(tests, confidence, margin)
        paragraphs += [SEEDS_TESTS.format(tests=table, margin=margin, power=significance.POWER), CORRECTION]
        if _has_crossed(tests):
            paragraphs.append(CROSSED)
        if len({selection[run]["environment"] for run in accuracies}) > 1:
            paragraphs.append(environments.MIXED_ENVIRONMENTS)
        if report["seeds_without_predictions"]:
            paragraphs.append(report["seeds_without_predictions"])
    return "\n\n".join(paragraphs)


def _format_paired_tests(report: Mapping[str, Any]) -> str:
    """Return the tests of every two single runs, and the note on their correction unless the seeds' tests have it."""
    if not report["paired_tests"]:
        return "There is only one run."
    tests = _tests_table(report["paired_tests"], report["confidence"], report["margin"])
    return PAIRED_TESTS.format(tests=tests) + ("" if report["seeds_tests"] else f"\n\n{CORRECTION}")


def _results_table(runs: Mapping[str, dict[str, Any]], confidence: float) -> str:
    rows = []
    for run, result in runs.items():
        accuracy = result["test_accuracy"]
        settings = {key.replace("_", " "): result[key] for key in SETTINGS}
        results = {
            "test accuracy": f"{accuracy['value']:.2%}",
            f"{100 * confidence:g}% interval": f"{accuracy['low']:.2%} to {accuracy['high']:.2%}",
            "test loss": f"{result['test_loss']:.4f}" + "*" * (result["label_smoothing"] > 0),
        }
        rows.append({"run": f"`{run}`", **settings, **results})
    return markdown_table(rows)


def _tests_table(tests: list[significance.RunTest], confidence: float, margin: float) -> str:
    rows = []
    has_crossed = _has_crossed(tests)
    for test in tests:
        crossed = {}
        if "seeds" in test:
            evidence = {"seeds": "{} and {}".format(*test["seeds"])}
            needed = {"seeds needed": "{:,} to {:,}".format(*significance.seeds_needed(test, confidence, margin))}
        else:
            evidence = {"only first correct": test["only_first"], "only second correct": test["only_second"]}
            needed = {}
        if has_crossed:
            cell = "{:+.2%} to {:+.2%}".format(*test["crossed"]) if test["crossed"] else None
            crossed = {f"{100 * confidence:g}% interval, other images": cell}
        row = {
            "first": f"`{test['first']}`",
            "second": f"`{test['second']}`",
            **evidence,
            "first - second": f"{test['difference']:+.2%}",
            f"{100 * confidence:g}% interval": f"{test['low']:+.2%} to {test['high']:+.2%}",
            **crossed,
            "p-value (Holm)": f"{test['adjusted']:.2g}",
            "first is": significance.verdict(test, confidence, margin),
            **needed,
        }
        rows.append(row)
    return markdown_table(rows)


def _has_crossed(tests: list[significance.RunTest]) -> bool:
    """Return whether a table of tests has the column of intervals for other images."""
    return any(test.get("crossed") for test in tests)


def _format_log(log: str, confidence: float, label: str, matches: list[dict[str, Any]]) -> str:
    rows = []
    for match in matches:
        row = {"run": f"`{match['run']}`", "lag": match["lag"], "loss ratio": f"{match['loss_ratio']:.3f}"}
        if "p_value" in match:
            row |= {
                "seeds": match["seeds"],
                "log's first loss": f"{match['loss']:.3f}",
                f"{100 * confidence:g}% interval": f"{match['low']:.3f} to {match['high']:.3f}",
                "p-value": f"{match['p_value']:.2g}",
                "corrected": f"{match['adjusted']:.2g}",
                "rank p-value": f"{match['rank_p_value']:.2g}",
            }
        rows.append(row)
    text = "No run has as many epochs as this log."
    if matches:
        text = f"{CONCLUSIONS[label].format(**find_label(log, matches))} {_format_matches(matches, 1 - confidence)}"
    return f"### Published as `{log}`\n\n{text}\n\n{markdown_table(rows)}".rstrip()


def _format_matches(matches: Sequence[Mapping[str, Any]], significance: float) -> str:
    """Return text about the closest match of a published log and the matches that the seeds do not reject."""
    not_rejected = [match for match in matches if match.get("adjusted", 0) >= significance]
    closest = f"The closest match is {_name_match(matches[0])}"
    if not not_rejected:
        return f"{closest}."
    if not_rejected == [matches[0]]:
        return f"{closest}, the only one of the tested runs and lags that is not rejected."
    return f"{closest}. Not rejected: {', '.join(map(_name_match, not_rejected))}."


def _name_match(match: Mapping[str, Any]) -> str:
    return f"`{match['run']}` at lag {match['lag']} (loss ratio {match['loss_ratio']:.2f})"


def _epochs_section(curves: Mapping[str, dict[str, list[float]]], metric: str) -> str:
    table = pd.DataFrame({name: pd.Series(curve[metric], curve["epoch"]) for name, curve in curves.items()})
    cells = table.rename_axis("epoch").map("{:.4f}".format, na_action="ignore").fillna("")
    return f"### {METRIC_TITLES[metric]}\n\n{cells.to_markdown(floatfmt='.4f')}"
