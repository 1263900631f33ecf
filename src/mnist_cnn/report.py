"""The comparison of all runs, put together for a program (JSON) and for a reader (Markdown)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from mnist_cnn import comparison
from mnist_cnn.comparison import Accuracy, Finding, Match, PairedTest
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
of the seeds is not in them.

## Every two runs

{paired_tests}

Only those images count that one run gets right and the other wrong (exact McNemar test). The verdict allows for the
number of comparisons (Bonferroni), the p-values do not. It is about these models: another seed may change it.

![Training loss and validation accuracy of all runs and published logs](comparison.png)

## The notebook's published logs

Each log is held against each run, its epoch k against the run's epoch k + shift. The loss ratio is the typical factor
between the two losses; 1 is equal. Two epochs differ if Fisher's exact test rejects equal validation accuracies
(Bonferroni over the epochs). It takes the test images of the two as different ones, so it errs towards no difference;
what two seeds differ by, it does not know.

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
        findings: what each published log is.
        histories: for each run and each published log the quantities by epoch.
        confidence: of the intervals, 0 to 1.
        examples: test images.
    """

    settings: Mapping[str, Mapping[str, Any]]
    accuracies: Mapping[str, Accuracy]
    losses: Mapping[str, float]
    tests: list[PairedTest]
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
                "test accuracy": f"{self.accuracies[run].value:.2%}",
                interval: f"{self.accuracies[run].low:.2%} to {self.accuracies[run].high:.2%}",
                "test loss": f"{self.losses[run]:.4f}",
            }
            for run, settings in self.settings.items()
        )

    def _paired_tests(self) -> str:
        if not self.tests:
            return "There is one run only."
        significance = (1 - self.confidence) / len(self.tests)
        return _table(
            {
                "first": f"`{test.first}`",
                "second": f"`{test.second}`",
                "first - second": f"{test.difference:+.2%}",
                "only first right": test.only_first,
                "only second right": test.only_second,
                "p": f"{test.p_value:.2g}",
                "verdict": "within noise"
                if test.p_value >= significance
                else f"`{test.first if test.difference > 0 else test.second}` is better on these images",
            }
            for test in self.tests
        )

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
) -> Report:
    """Compare all runs of a table.

    Args:
        table: the rows of params.yaml.
        histories: for each run columns loss, accuracy, val_loss and val_accuracy; index epoch, from 1.
        predictions: for each run `probabilities` (n, 10) and `labels` (n,) of the same n test images.
        losses: for each run its test loss.
        published: for each published log the same as `histories`.
        confidence: of the intervals, 0 to 1, exclusive; the tests use 1 - confidence.
        largest_shift: in epochs, see `comparison.explain_log`.
    """
    correct = {run: arrays["probabilities"].argmax(axis=1) == arrays["labels"] for run, arrays in predictions.items()}
    examples = len(next(iter(correct.values())))
    return Report(
        settings={run: row.model_dump() for run, row in table.items()},
        accuracies={run: comparison.accuracy(right, confidence) for run, right in correct.items()},
        losses=losses,
        tests=comparison.paired_tests(correct),
        findings=[
            comparison.explain_log(log, history, histories, examples, largest_shift, 1 - confidence)
            for log, history in published.items()
        ],
        histories={**histories, **{f"published {log}": history for log, history in published.items()}},
        confidence=confidence,
        examples=examples,
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
        }
        for match in finding.matches
    )
    return f"### Published as `{finding.log}`\n\n{verdict}\n\n{matches}"


def _say(match: Match) -> str:
    shift = f" shifted by {match.shift} epoch{'s' * (match.shift > 1)}" if match.shift else ""
    return (
        f"`{match.run}`{shift}, losses within a factor of {match.loss_ratio:.2f}, "
        f"{match.differing_epochs} of {match.epochs} epochs differ"
    )


def _table(rows: Any) -> str:
    return str(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))
