"""The comparison of all runs, put together for a program (JSON) and for a reader (Markdown)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from mnist_cnn import comparison, replicates
from mnist_cnn.comparison import Accuracy, PairedTest, SeedsTest
from mnist_cnn.published import Finding, Match, explain_log
from mnist_cnn.schema import Row

QUANTITIES = {
    "val_accuracy": "Validation accuracy",
    "accuracy": "Training accuracy",
    "val_loss": "Validation loss",
    "loss": "Training loss",
}
VERDICTS = {
    "consistent": "The runs are consistent with the label.",
    "refuted": "**The label does not hold.**",
    "open": "These runs do not decide whether the label holds.",
}

# The text before the first section is the table of results: `make repro` ends with it.
PAGE = """\
# The documented runs

{results}

Single runs, one seed each, on {examples:,} test images. The intervals (Wilson) are the noise of the test images; that
of the seeds is below.

## Every two runs

{paired_tests}

Only those images count that one run gets right and the other wrong (exact McNemar test; the interval is a bootstrap
over the images). Holm's correction allows for the number of comparisons. The verdict is about these models: another
seed may change it.

## Over the seeds

{seeds}

![Training loss and validation accuracy of all runs and published logs](comparison.png)

## The notebook's published logs

Each log is held against each run, its epoch k against the run's epoch k + shift. The loss ratio is the typical factor
between the two losses; 1 is equal. Two epochs differ if Fisher's exact test rejects equal validation accuracies
(Bonferroni over the epochs). It takes the test images of the two as different ones, so it errs towards no difference.
Of a run with three seeds or more, p is the probability that one more seed is as far from their mean as the log is, by
the same distance over all epochs (Student's t on its logarithm, one-sided). Then p decides, else the epochs that
differ.

{findings}

## Epoch by epoch

{epochs}
"""


@dataclass(frozen=True)
class Report:
    """All results side by side.

    Attributes:
        settings: for each run its row of params.yaml.
        accuracies: for each run its test accuracy with interval.
        losses: for each run its test loss.
        tests: every two runs, paired.
        seeds: for each run that has replicates its accuracies, index seed.
        seeds_tests: every two runs over their seeds.
        findings: what each published log is.
        histories: for each run and each published log the quantities by epoch.
        confidence: of the intervals, 0 to 1.
        examples: test images.
    """

    settings: Mapping[str, Mapping[str, Any]]
    accuracies: Mapping[str, Accuracy]
    losses: Mapping[str, float]
    tests: list[PairedTest]
    seeds: Mapping[str, pd.Series]
    seeds_tests: list[SeedsTest]
    findings: list[Finding]
    histories: Mapping[str, pd.DataFrame]
    confidence: float
    examples: int

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types."""
        return {
            "confidence": self.confidence,
            "test_examples": self.examples,
            "runs": {
                run: {
                    **settings,
                    "test_accuracy": asdict(self.accuracies[run]),
                    "test_loss": self.losses[run],
                }
                for run, settings in self.settings.items()
            },
            "paired_tests": [asdict(test) for test in self.tests],
            "seeds": {run: values.to_dict() for run, values in self.seeds.items()},
            "seeds_tests": [asdict(test) for test in self.seeds_tests],
            "published_logs": {
                finding.log: {
                    "label": finding.verdict,
                    "matches": [asdict(match) for match in finding.matches],
                }
                for finding in self.findings
            },
            "epochs": {
                name: history.reset_index()[["epoch", *QUANTITIES]].to_dict("list")
                for name, history in self.histories.items()
            },
        }

    def to_markdown(self) -> str:
        """Return a page to read."""
        return PAGE.format(
            results=self._results(),
            examples=self.examples,
            paired_tests=self._paired_tests(),
            seeds=self._seeds(),
            findings="\n\n".join(_finding(finding) for finding in self.findings),
            epochs="\n\n".join(f"### {title}\n\n{self._epochs(key)}" for key, title in QUANTITIES.items()),
        )

    def _results(self) -> str:
        interval = f"{100 * self.confidence:g}% interval"
        return _table(
            {
                "run": f"`{run}`",
                "optimizer": settings["optimizer"],
                "batch size": settings["batch_size"],
                "epochs": settings["epochs"],
                "training": settings["training"],
                "test accuracy": f"{self.accuracies[run].value:.2%}",
                interval: f"{self.accuracies[run].low:.2%} to {self.accuracies[run].high:.2%}",
                "test loss": f"{self.losses[run]:.4f}",
            }
            for run, settings in self.settings.items()
        )

    def _paired_tests(self) -> str:
        if not self.tests:
            return "There is one run only."
        return _table(
            self._row(test, {"only first right": test.only_first, "only second right": test.only_second})
            for test in self.tests
        )

    def _seeds(self) -> str:
        if not self.seeds:
            return "There are no replicates of these runs. Make them: `python -m pipelines.replicate run=…`"
        tests = _table(self._row(test, {"test": test.method}) for test in self.seeds_tests)
        return replicates.summary(self.seeds, self.confidence) + (f"\n\n{tests}" if self.seeds_tests else "")

    def _row(self, test: PairedTest | SeedsTest, evidence: dict[str, Any]) -> dict[str, Any]:
        return {
            "first": f"`{test.first}`",
            "second": f"`{test.second}`",
            "first - second": f"{test.difference:+.2%}",
            f"{100 * self.confidence:g}% interval": f"{test.low:+.2%} to {test.high:+.2%}",
            **evidence,
            "p, Holm": f"{test.adjusted:.2g}",
            "first is": comparison.verdict(test, 1 - self.confidence),
        }

    def _epochs(self, quantity: str) -> str:
        table = pd.DataFrame({name: history[quantity] for name, history in self.histories.items()})
        return str(table.to_markdown(floatfmt=".4f"))


def build(
    table: Mapping[str, Row],
    histories: Mapping[str, pd.DataFrame],
    predictions: Mapping[str, Mapping[str, np.ndarray]],
    losses: Mapping[str, float],
    published: Mapping[str, pd.DataFrame],
    confidence: float,
    largest_shift: int,
    seeds: Mapping[str, pd.DataFrame],
) -> Report:
    """Compare all runs of a table.

    Args:
        table: the rows of params.yaml.
        histories: for each run columns loss, accuracy, val_loss and val_accuracy; index epoch, from 1.
        predictions: for each run `probabilities` (n, 10) and `labels` (n,) of the same n test images.
        losses: for each run its test loss.
        published: for each published log the same as `histories`.
        confidence: of the intervals, 0 to 1, exclusive; the tests use 1 - confidence.
        largest_shift: in epochs, see `published.explain_log`.
        seeds: the histories of several seeds of those runs that have replicates.
    """
    correct = {run: arrays["probabilities"].argmax(axis=1) == arrays["labels"] for run, arrays in predictions.items()}
    examples = len(next(iter(correct.values())))
    accuracies = {run: replicates.last(histories) for run, histories in seeds.items()}
    return Report(
        settings={run: row.model_dump() for run, row in table.items()},
        accuracies={run: comparison.accuracy(right, confidence) for run, right in correct.items()},
        losses=losses,
        tests=comparison.paired_tests(correct, confidence),
        seeds=accuracies,
        seeds_tests=comparison.seeds_tests(accuracies, confidence),
        findings=[
            explain_log(log, history, histories, examples, largest_shift, 1 - confidence, seeds)
            for log, history in published.items()
        ],
        histories={**histories, **{f"published {log}": history for log, history in published.items()}},
        confidence=confidence,
        examples=examples,
    )


def of_two(test: PairedTest | SeedsTest, accuracies: Mapping[str, float], confidence: float) -> str:
    """Say which of two runs is better, in a few lines.

    Args:
        test: of the two.
        accuracies: of both, 0 to 1; the means, if the test is over the seeds of both.
        confidence: of the interval, 0 to 1, exclusive.
    """
    where, about = "Over the seeds", ""
    if isinstance(test, PairedTest):
        where, about = f"On {test.examples:,} test images", " on these images"
        split = f"{test.only_first} images that only the first gets right, {test.only_second} that only the second does"
        evidence = f"{split}; exact McNemar test"
    elif test.method == "t of two seeds":
        evidence = f"seed, threads and speed may differ; t test with the deviation of {test.seeds[0]} seeds"
    else:
        evidence = f"{test.seeds[0]} and {test.seeds[1]} seeds; {test.method} test"
    verdict = comparison.verdict(test, 1 - confidence)
    noise = verdict.startswith("within")
    return "\n".join(
        [
            f"{where}: {test.first} {accuracies[test.first]:.2%}, {test.second} {accuracies[test.second]:.2%}",
            f"  difference {test.difference:+.2%}, {100 * confidence:g}% interval {test.low:+.2%} to {test.high:+.2%}",
            f"  {evidence}: p = {test.p_value:.2g}",
            f"  The difference is {verdict}." if noise else f"  {test.first} is {verdict} than {test.second}{about}.",
        ]
    )


def _finding(finding: Finding) -> str:
    if not finding.matches:
        return f"### Published as `{finding.log}`\n\nNo run has as many epochs as this log."
    verdict = f"{VERDICTS[finding.verdict]} Closest: {_say(finding.matches[0])}."
    if finding.labelled not in (None, finding.matches[0]):
        verdict += f" As labelled: {_say(finding.labelled)}."
    matches = _table(
        {
            "run": f"`{match.run}`",
            "shift": match.shift,
            "loss ratio": f"{match.loss_ratio:.3f}",
            "epochs that differ": f"{match.differing_epochs} of {match.epochs}",
            **({} if match.p_value is None else {"p": f"{match.p_value:.2g}"}),
        }
        for match in finding.matches
    )
    return f"### Published as `{finding.log}`\n\n{verdict}\n\n{matches}"


def _say(match: Match) -> str:
    shift = f" shifted by {match.shift} epoch{'s' * (match.shift > 1)}" if match.shift else ""
    return (
        f"`{match.run}`{shift}, losses within a factor of {match.loss_ratio:.2f}, "
        f"{match.differing_epochs} of {match.epochs} epochs differ"
        + ("" if match.p_value is None else f", p = {match.p_value:.2g}")
    )


def _table(rows: Any) -> str:
    return str(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))
