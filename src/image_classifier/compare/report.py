"""Report on all pipeline runs, for programs (JSON) and readers (Markdown)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from image_classifier import paths
from image_classifier.compare import seeds, significance
from image_classifier.compare.plots import plot_comparison
from image_classifier.compare.published_logs import LogVerdict, match_log
from image_classifier.compare.significance import Accuracy, PairedTest, SeedsTest
from image_classifier.config.schema import Row
from image_classifier.dataset import read_arrays

METRICS = {
    "val_accuracy": "Validation accuracy",
    "accuracy": "Training accuracy",
    "val_loss": "Validation loss",
    "loss": "Training loss",
}
CONCLUSIONS = {
    "consistent": "The log is consistent with its label.",
    "refuted": "**The log does not fit its label.**",
    "open": "These runs do not decide whether the log fits its label.",
}

# `make repro` prints the text before the first "## ".
PAGE = """\
# Pipeline runs

{results}

Each row is a single run with one seed, evaluated on {examples:,} test images. The intervals (Wilson) cover the noise of
the test images. The noise of the seeds is below.

## Every two runs

{paired_tests}

The exact McNemar test uses the images that only one of the two runs classifies correctly. The intervals are bootstrap
intervals over the images, and the p-values have Holm's correction for the number of tests. A verdict is about these
trained models and may change with the seed.

## Over the seeds

{seeds}

![Training loss and validation accuracy of all runs and published logs](comparison.png)

## The notebook's published logs

Each log is compared with each run at several lags: epoch k of the log with epoch k + lag of the run. A label claims the
run of that name at lag 0. The closest losses come first.

- *Loss ratio*: typical factor between the losses of log and run. A ratio of 1 means equal losses.
- *Epochs that differ*: epochs in which Fisher's exact test finds different validation accuracies, with Bonferroni's
  correction. It treats the test images of log and run as different images, so it errs towards finding no difference.
- *p-value*: p-value of the log's distance from the mean of the run's seeds (one-sided Student's t test on the logarithm
  of the distance). It needs three seeds.

The p-value decides whether log and run differ. Without one, they differ if any epoch does.

{logs}

## Epoch by epoch

{epochs}
"""


@dataclass(frozen=True)
class Report:
    """Results of all runs and the tests between them.

    Attributes:
        table: Rows of params.yaml by run.
        accuracies: Test accuracy of each run.
        losses: Test loss of each run.
        paired_tests: Tests of every two runs on the test images.
        seeds: Final accuracies of the runs that have replicates; index seed.
        bands: Prediction intervals of these runs, from `seeds.prediction_intervals`.
        seeds_tests: Tests of every two of these runs over their seeds.
        histories: Columns loss, accuracy, val_loss and val_accuracy of each run; index epoch, from 1.
        published: The same columns of each published log.
        log_verdicts: Verdict on each published log.
        confidence: Level of the intervals, 0 to 1, exclusive; tests use the significance level 1 - confidence.
        examples: Number of test images.
    """

    table: Mapping[str, Row]
    accuracies: Mapping[str, Accuracy]
    losses: Mapping[str, float]
    paired_tests: list[PairedTest]
    seeds: Mapping[str, pd.Series]
    bands: Mapping[str, pd.DataFrame]
    seeds_tests: list[SeedsTest]
    histories: Mapping[str, pd.DataFrame]
    published: Mapping[str, pd.DataFrame]
    log_verdicts: list[LogVerdict]
    confidence: float
    examples: int

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON types."""
        return {
            "confidence": self.confidence,
            "test_examples": self.examples,
            "runs": {
                run: {
                    **row.model_dump(),
                    "test_accuracy": asdict(self.accuracies[run]),
                    "test_loss": self.losses[run],
                }
                for run, row in self.table.items()
            },
            "paired_tests": [asdict(test) for test in self.paired_tests],
            "seeds": {run: values.to_dict() for run, values in self.seeds.items()},
            "seeds_tests": [asdict(test) for test in self.seeds_tests],
            "published_logs": {
                verdict.log: {"label": verdict.conclusion, "matches": [asdict(match) for match in verdict.matches]}
                for verdict in self.log_verdicts
            },
            "epochs": {
                name: history.reset_index()[["epoch", *METRICS]].to_dict("list")
                for name, history in self._curves().items()
            },
        }

    def to_markdown(self) -> str:
        """Return the report as a page to read."""
        return PAGE.format(
            results=self._results_table(),
            examples=self.examples,
            paired_tests=self._tests_table(self.paired_tests) or "There is only one run.",
            seeds=self._seeds_section(),
            logs="\n\n".join(_format_log(verdict) for verdict in self.log_verdicts),
            epochs="\n\n".join(f"### {title}\n\n{self._epochs_table(metric)}" for metric, title in METRICS.items()),
        )

    def plot(self) -> Figure:
        """Draw the histories of all runs and published logs, with the prediction intervals of the runs."""
        return plot_comparison(self.histories, self.published, self.bands, self.confidence)

    def _curves(self) -> dict[str, pd.DataFrame]:
        return {**self.histories, **{f"published {log}": history for log, history in self.published.items()}}

    def _results_table(self) -> str:
        rows = []
        for run, row in self.table.items():
            accuracy = self.accuracies[run]
            settings = {key.replace("_", " "): value for key, value in row.model_dump().items()}
            results = {
                "test accuracy": f"{accuracy.value:.2%}",
                f"{100 * self.confidence:g}% interval": f"{accuracy.low:.2%} to {accuracy.high:.2%}",
                "test loss": f"{self.losses[run]:.4f}",
            }
            rows.append({"run": f"`{run}`", **settings, **results})
        return seeds.markdown_table(rows)

    def _seeds_section(self) -> str:
        if not self.seeds:
            return "These runs have no replicates. Train some: `image-classifier replicate RUN`"
        return f"{seeds.summary_table(self.seeds, self.confidence)}\n\n{self._tests_table(self.seeds_tests)}".rstrip()

    def _tests_table(self, tests: Sequence[PairedTest | SeedsTest]) -> str:
        rows = []
        for test in tests:
            row: dict[str, object] = {
                "first": f"`{test.first}`",
                "second": f"`{test.second}`",
                "first - second": f"{test.difference:+.2%}",
                f"{100 * self.confidence:g}% interval": f"{test.low:+.2%} to {test.high:+.2%}",
            }
            if isinstance(test, PairedTest):
                row |= {"only first correct": test.only_first, "only second correct": test.only_second}
            else:
                row["test"] = test.method
            row["p-value (Holm)"] = f"{test.adjusted:.2g}"
            row["first is"] = significance.verdict(test, 1 - self.confidence)
            rows.append(row)
        return seeds.markdown_table(rows)

    def _epochs_table(self, metric: str) -> str:
        table = pd.DataFrame({name: history[metric] for name, history in self._curves().items()})
        return str(table.to_markdown(floatfmt=".4f"))


def compare_runs(
    table: Mapping[str, Row], recipes: Mapping[str, str | None], confidence: float, max_epoch_lag: int
) -> Report:
    """Compare the pipeline runs with each other and with the published logs.

    Args:
        table: Rows of params.yaml by run.
        recipes: Recipe fingerprint of each run, which decides its replicates.
        confidence: Level of the intervals, 0 to 1, exclusive; tests use the significance level 1 - confidence.
        max_epoch_lag: Greatest lag of a published log behind a run, in epochs.

    Raises:
        FileNotFoundError: A run is not trained or not evaluated.
        InputError: A file with predictions or replicates cannot be read.
    """
    files = {run: paths.pipeline_run(run) for run in table}
    histories = {run: pd.read_csv(file.history, index_col="epoch") for run, file in files.items()}
    predictions = {run: read_arrays(file.predictions) for run, file in files.items()}
    correct = {run: arrays["probabilities"].argmax(axis=1) == arrays["labels"] for run, arrays in predictions.items()}
    examples = len(next(iter(correct.values())))
    logs = pd.read_csv(paths.PUBLISHED_HISTORY).groupby("run", sort=False)
    published = {log: history.set_index("epoch") for log, history in logs}
    replicates = seeds.select_replicates(seeds.read_replicates(paths.REPLICATES), recipes)
    accuracies = {run: seeds.final_accuracies(of_run) for run, of_run in replicates.items()}
    return Report(
        table=table,
        accuracies={run: significance.estimate_accuracy(values, confidence) for run, values in correct.items()},
        losses={run: json.loads(file.metrics.read_text())["test_loss"] for run, file in files.items()},
        paired_tests=significance.paired_tests(correct, confidence),
        seeds=accuracies,
        bands=seeds.prediction_intervals(replicates, confidence),
        seeds_tests=significance.seeds_tests(accuracies, confidence),
        histories=histories,
        published=published,
        log_verdicts=[
            match_log(log, history, histories, replicates, examples, max_epoch_lag, 1 - confidence)
            for log, history in published.items()
        ],
        confidence=confidence,
        examples=examples,
    )


def _format_log(verdict: LogVerdict) -> str:
    rows = [
        {
            "run": f"`{match.run}`",
            "lag": match.lag,
            "loss ratio": f"{match.loss_ratio:.3f}",
            "epochs that differ": f"{match.differing_epochs} of {match.epochs}",
            "p-value": None if match.p_value is None else f"{match.p_value:.2g}",
        }
        for match in verdict.matches
    ]
    text = "No run has as many epochs as this log."
    if verdict.matches:
        closest = verdict.matches[0]
        text = f"{CONCLUSIONS[verdict.conclusion]} The closest match is `{closest.run}` at lag {closest.lag}."
    return f"### Published as `{verdict.log}`\n\n{text}\n\n{seeds.markdown_table(rows)}".rstrip()
