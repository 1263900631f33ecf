"""Tables and sentences of README.md and docs/ that are made from reports/.

docs/measurements.py and docs/performance.py make those from benchmarks/.

Cog calls these functions from comments in the Markdown files and writes the returned text below each comment:
`make numbers`. `make lint` fails when a text is out of date.
"""

import json
import re
from pathlib import Path
from textwrap import fill
from typing import Any

import pandas as pd
import yaml
from scipy import stats

from image_classifier.markdown import markdown_table

ROOT = Path(__file__).resolve().parents[1]
COMPARISON: dict[str, Any] = json.loads((ROOT / "reports/comparison_mnist.json").read_text(encoding="utf-8"))
LEVEL = f"{100 * COMPARISON['confidence']:g}%"
WIDTH = 120  # characters in a line of text


def results() -> str:
    """Return the table of the pipeline runs: accuracy over the seeds, and test accuracy and loss of the single run."""
    rows = []
    for run, result in COMPARISON["runs"].items():
        accuracy = result["test_accuracy"]
        rows.append(
            {
                "run": f"`{run}`",
                "optimizer, learning rate": _optimizer(result["optimizer"]),
                "batch size": result["batch_size"],
                "epochs": result["epochs"],
                "accuracy over seeds": _over_seeds(run) or "no replicates",
                "test accuracy, seed 42": f"{accuracy['value']:.2%}",
                f"{LEVEL} interval": f"{accuracy['low']:.2%} to {accuracy['high']:.2%}",
                "test loss": f"{result['test_loss']:.4f}" + " (smoothed labels)" * (result["label_smoothing"] > 0),
            }
        )
    return markdown_table(rows)


def seeds() -> str:
    """Return the table of the test accuracies over the seeds of each run that has replicates."""
    rows = []
    for run in COMPARISON["seeds"]:
        values = _seeds(run)
        low, high = stats.t.interval(COMPARISON["confidence"], len(values) - 1, values.mean(), values.sem())
        rows.append(
            {
                "run": f"`{run}`",
                "environment": f"`{COMPARISON['seeds_selection'][run]['environment']}`",
                "seeds (n)": len(values),
                "mean": f"{values.mean():.2%}",
                "standard deviation": f"{values.std():.2%}",
                f"{LEVEL} interval of the mean": f"{low:.2%} to {high:.2%}",
                "lowest": f"{values.min():.2%}",
                "highest": f"{values.max():.2%}",
            }
        )
    return markdown_table(rows) if rows else "No run has replicates at present."


def time_to_accuracy() -> str:
    """Return the table of the epochs and the time until each run first reaches two accuracies, and its conditions."""
    replicates = pd.read_csv(ROOT / "reports/replicates.csv")
    epoch_seconds = {run: float(pd.Series(times).median()) for run, times in pipeline_epochs().items()}
    rows = []
    for run in COMPARISON["seeds"]:
        environment = COMPARISON["seeds_selection"][run]["environment"]
        histories = replicates[(replicates["run"] == run) & (replicates["environment"] == environment)]
        row = {"run": f"`{run}`", "seeds (n)": histories["seed"].nunique()}
        epochs, taken = histories["epoch"].max(), epoch_seconds.get(run)
        row["whole training"] = f"{epochs} epochs" + (f", {epochs * taken:.0f} s" if taken else "")
        for accuracy in (0.99, 0.991):
            reached = histories[histories["val_accuracy"] >= accuracy].groupby("seed")["epoch"].min()
            row[f"first {accuracy:.1%}"] = _epochs(reached, row["seeds (n)"], taken, epochs)
        rows.append(row)
    share = epoch_seconds["fast"] / epoch_seconds["adadelta_128"]
    conditions = (
        "Conditions: the epoch in which the accuracy on the test images is first reached, as the median over the seeds "
        "that reach it, with the least and the greatest; times are epochs times the median duration of an epoch from "
        "[performance](performance.md), on two cores of an AMD EPYC. The number of epochs comes from the seeds, which "
        "use one thread, and the time of an epoch from trainings with two threads; it leaves out that the first epoch "
        f"takes longer. An epoch of `fast` takes {share:.0%} of the time of an epoch of `adadelta_128`: it "
        "computes with bfloat16, which needs a processor with instructions for it. `fast` also has another "
        "optimizer and shifts the images, and these effects were not measured separately."
    )
    return f"{markdown_table(rows)}\n\n{to_text(conditions)}"


def _epochs(reached: pd.Series, seeds: int, epoch_seconds: float | None, last_epoch: int) -> str:
    """Return the median of the numbers of epochs, their range, their time, and how many of the seeds have a number."""
    if reached.empty:
        return f"not within {last_epoch} epochs"
    low, median, high = reached.min(), reached.median(), reached.max()
    spread = f" ({low} to {high})" if low < high else ""
    some = f", by {len(reached)} seeds" if len(reached) < seeds else ""
    taken = f", {median * epoch_seconds:.0f} s" if epoch_seconds else ""
    return f"{median:g} epoch{'' if median == 1 else 's'}{spread}{taken}{some}"


def pipeline_epochs() -> dict[str, list[float]]:
    """Return the seconds of an epoch after the first, with its validation, of the runs in benchmarks/training.json."""
    rounds = [measured["pipeline"]["epochs"] for measured in read_json("benchmarks/training.json")["rounds"]]
    return {run: [epochs[run][-1] for epochs in rounds] for run in rounds[0]}


def pairs(*runs: str) -> str:
    """Return the table of the tests of every two of these runs, on the test images and over the seeds.

    It also has the interval for other seeds and other test images of runs whose seeds have predictions.
    """
    rows = []

    def add(test: dict[str, Any], basis: str, size: str, method: str, ends: tuple[float, float], p_value: str) -> None:
        rows.append(
            {
                "first": f"`{test['first']}`",
                "second": f"`{test['second']}`",
                "basis": basis,
                "n": size,
                "method": method,
                "first - second": f"{test['difference']:+.2%}",
                f"{LEVEL} interval": "{:+.2%} to {:+.2%}".format(*ends),
                "p (Holm)": p_value,
            }
        )

    for basis, method in (("paired_tests", "exact McNemar"), ("seeds_tests", "Welch's t")):
        for test in COMPARISON[basis]:
            if not {test["first"], test["second"]} <= set(runs):
                continue
            ends, p_value = (test["low"], test["high"]), f"{test['adjusted']:.2g}"
            if basis == "paired_tests":
                add(test, "test images", f"{test['examples']:,}", method, ends, p_value)
                continue
            size = " and ".join(map(str, test["seeds"]))
            add(test, "seeds", size, method, ends, p_value)
            if test["crossed"]:
                add(test, "seeds and images", size, "bootstrap", test["crossed"], "")
    return markdown_table(rows)


def published_logs() -> str:
    """Return the table of the notebook's published logs: their label and the run that is closest to them."""
    rows = []
    for log, finding in COMPARISON["published_logs"].items():
        matches = finding["matches"]
        labelled = next(match for match in matches if (match["run"], match["lag"]) == (log, 0))
        for name, match in (("label", labelled), ("closest run", matches[0])):
            lag, tested = match["lag"], "p_value" in match
            rows.append(
                {
                    "published as": f"`{log}`",
                    "compared with": f"{name}: `{match['run']}`"
                    + (f", {lag} epoch{'s' * (lag > 1)} later" if lag else ""),
                    "loss ratio": f"{match['loss_ratio']:.2f}",
                    "seeds": str(match["seeds"]) if tested else "",
                    "log's first loss": f"{match['loss']:.3f}" if tested else "no replicates",
                    f"{LEVEL} interval": f"{match['low']:.3f} to {match['high']:.3f}" if tested else "",
                    "p-value": f"{match['p_value']:.2g}" if tested else "",
                    "corrected": f"{match['adjusted']:.2g}" if tested else "",
                    "rank p-value": f"{match['rank_p_value']:.2g}" if tested else "",
                }
            )
    return markdown_table(rows)


def published_conclusions() -> str:
    """Return the list of the conclusions about the published logs, from the report."""
    report = (ROOT / "reports/comparison_mnist.md").read_text(encoding="utf-8")
    conclusions = re.findall(r"### Published as (`\w+`)\n\n(.+)", report)
    return "\n".join(to_text(f"- Published as {log}: {text}", hanging=2) for log, text in conclusions)


def published_sgd_128() -> str:
    """Return a sentence that compares the log published for SGD at batch size 128 with the run of that name."""
    published, finding = COMPARISON["epochs"]["published sgd_128"], COMPARISON["published_logs"]["sgd_128"]
    single = f"{COMPARISON['runs']['sgd_128']['test_accuracy']['value']:.2%} in a single run"
    tested = next(match for match in finding["matches"] if (match["run"], match["lag"]) == ("sgd_128", 0))
    verdict = {"rejected": "rejects", "not rejected": "does not reject", "untested": "cannot test"}[finding["label"]]
    evidence = f" ({tested['seeds']} seeds, corrected p = {tested['adjusted']:.2g})" if "adjusted" in tested else ""
    return to_text(
        f"The notebook publishes {published['val_accuracy'][-1]:.2%} for SGD at batch size 128; this project measures "
        f"{_over_seeds('sgd_128') or single}. A test of the mean training loss in the first epoch {verdict} the "
        f"label of the published log{evidence}, under [assumptions](docs/notebook.md#method). The run "
        f"`{finding['matches'][0]['run']}` has the closest losses."
    )


def conditions() -> str:
    """Return the conditions of the table of the pipeline runs."""
    dataset = read_json("reports/dataset_mnist.json")
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    versions = {name: re.search(rf"^{name}==(\S+)", lock, re.MULTILINE) for name in ("tensorflow", "keras", "numpy")}
    installed = ", ".join(f"{name} {found[1]}" for name, found in versions.items() if found)
    reference = next(
        machine
        for machine, results in read_json("benchmarks/machines.json").items()
        if results["adadelta_128"]["bytes"] == "reference"
    )
    return to_text(
        f"Conditions: all {dataset['train']['examples']:,} training and {dataset['test']['examples']:,} test images; "
        f"{installed}. The single runs use two threads of an {reference}. The seeds use one thread each; "
        "[statistics](docs/statistics.md#results-over-seeds) names their environments. The interval (Wilson) covers "
        "the noise of the test images, and ± is one standard deviation over the seeds."
    )


def seeds_conditions() -> str:
    """Return the conditions of the table of the seeds, and its environments."""
    dataset = read_json("reports/dataset_mnist.json")
    conditions = (
        f"Conditions: all {dataset['train']['examples']:,} training and {dataset['test']['examples']:,} test images. "
        "The accuracy is the one on the test images after the last epoch. The interval of the mean uses Student's t "
        "distribution. Environments:"
    )
    environments = [to_text(line, hanging=2) for line in COMPARISON["seeds_environments"].splitlines()]
    return "\n".join([to_text(conditions), "", *environments])


def read_json(file: str) -> dict[str, Any]:
    """Return the values of a committed JSON file; its path is relative to the project."""
    values: dict[str, Any] = json.loads((ROOT / file).read_text(encoding="utf-8"))
    return values


def format_machine(measured: dict[str, Any]) -> str:
    """Return the version of TensorFlow, the cores and the processor of a measurement in benchmarks/."""
    family = f" (family {measured['processor_family']})" if "processor_family" in measured else ""
    return f"tensorflow {measured['tensorflow']}; {measured['cores']} cores, {measured['processor']}{family}"


def _seeds(run: str) -> pd.Series:
    return pd.Series(COMPARISON["seeds"].get(run, {}), dtype=float)


def _over_seeds(run: str) -> str:
    """Return mean and standard deviation of the accuracy over the seeds, or an empty text without replicates."""
    seeds = _seeds(run)
    return f"{seeds.mean():.2%} ± {seeds.std():.2%} (n = {len(seeds)})" if len(seeds) > 1 else ""


def _optimizer(name: str) -> str:
    config = yaml.safe_load((ROOT / f"conf/optimizer/{name}.yaml").read_text(encoding="utf-8"))
    rate = config["learning_rate"]
    return f"{class_name(config)}, {class_name(rate) if isinstance(rate, dict) else rate}"


def class_name(config: dict[str, Any]) -> str:
    """Return the name of the class that a configuration with `_target_` describes."""
    return str(config["_target_"].rpartition(".")[2])


def to_text(sentences: str, hanging: int = 0) -> str:
    """Return sentences in lines of at most `WIDTH` characters; `hanging` indents all lines but the first."""
    return fill(sentences, WIDTH, subsequent_indent=" " * hanging, break_long_words=False, break_on_hyphens=False)
