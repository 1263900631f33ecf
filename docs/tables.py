"""Tables and sentences of README.md and docs/, made from committed results.

Cog calls these functions from comments in the Markdown files and writes the returned text below each comment.
`make lint` fails when a text is out of date.
"""

import json
import re
from pathlib import Path
from textwrap import fill
from typing import Any

import pandas as pd
import yaml
from scipy import stats

ROOT = Path(__file__).resolve().parents[1]
COMPARISON: dict[str, Any] = json.loads((ROOT / "reports/comparison_mnist.json").read_text(encoding="utf-8"))
LEVEL = f"{100 * COMPARISON['confidence']:g}%"
WIDTH = 120  # characters in a line of text


def results() -> str:
    """Return the table of the pipeline runs: test accuracy and loss of the single run, and accuracy over the seeds."""
    rows = []
    for run, result in COMPARISON["runs"].items():
        accuracy, seeds = result["test_accuracy"], _seeds(run)
        over_seeds = f"{seeds.mean():.2%} ± {seeds.std():.2%} (n = {len(seeds)})" if len(seeds) > 1 else "no replicates"
        rows.append(
            {
                "run": f"`{run}`",
                "optimizer, learning rate": _optimizer(result["optimizer"]),
                "batch size": result["batch_size"],
                "epochs": result["epochs"],
                "test accuracy, seed 42": f"{accuracy['value']:.2%}",
                f"{LEVEL} interval": f"{accuracy['low']:.2%} to {accuracy['high']:.2%}",
                "test loss": f"{result['test_loss']:.4f}" + " (smoothed labels)" * (result["label_smoothing"] > 0),
                "accuracy over seeds": over_seeds,
            }
        )
    return _table(rows)


def seeds() -> str:
    """Return the table of the test accuracies over the seeds of each run that has replicates."""
    rows = []
    for run in COMPARISON["seeds"]:
        values = _seeds(run)
        low, high = stats.t.interval(COMPARISON["confidence"], len(values) - 1, values.mean(), values.sem())
        rows.append(
            {
                "run": f"`{run}`",
                "seeds (n)": len(values),
                "mean": f"{values.mean():.2%}",
                "standard deviation": f"{values.std():.2%}",
                f"{LEVEL} interval of the mean": f"{low:.2%} to {high:.2%}",
                "lowest": f"{values.min():.2%}",
                "highest": f"{values.max():.2%}",
            }
        )
    return _table(rows) if rows else "No run has replicates at present."


def time_to_accuracy() -> str:
    """Return the table of the epochs and the time until each run first reaches two accuracies, and its conditions."""
    replicates = pd.read_csv(ROOT / "reports/replicates.csv")
    performance = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    epoch_seconds = {run: float(value) for run, value in re.findall(r"`(\w+)`, pipeline *\| ([\d.]+) s", performance)}
    rows = []
    for run in COMPARISON["seeds"]:
        if run not in epoch_seconds:
            continue
        environment = COMPARISON["seeds_selection"][run]["environment"]
        histories = replicates[(replicates["run"] == run) & (replicates["environment"] == environment)]
        row = {"run": f"`{run}`", "seeds (n)": histories["seed"].nunique()}
        row["whole training"] = f"{histories['epoch'].max() * epoch_seconds[run]:.0f} s"
        for accuracy in (0.99, 0.991):
            reached = histories[histories["val_accuracy"] >= accuracy].groupby("seed")["epoch"].min()
            row[f"first {accuracy:.1%}"] = _epochs(reached, row["seeds (n)"], epoch_seconds[run])
        rows.append(row)
    share = epoch_seconds["fast"] / epoch_seconds["adadelta_128"]
    conditions = (
        "Conditions: the epoch in which the accuracy on the test images is first reached, as the median over the seeds "
        "that reach it, with the least and the greatest; times are epochs times the median duration of an epoch from "
        f"[performance](performance.md), on two cores of an AMD EPYC. An epoch of `fast` takes {share:.0%} of the time "
        "of an epoch of `adadelta_128`, because it computes with bfloat16; the rest of the gain is that it needs fewer "
        "epochs. On a processor without instructions for bfloat16, `fast` is slower than `adadelta_128`."
    )
    return f"{_table(rows)}\n\n{_text(conditions)}"


def _epochs(reached: pd.Series, seeds: int, epoch_seconds: float) -> str:
    """Return the median of the numbers of epochs, their range, their time, and how many of the seeds have a number."""
    if reached.empty:
        return "never"
    low, median, high = reached.min(), reached.median(), reached.max()
    spread = f" ({low} to {high})" if low < high else ""
    some = f", by {len(reached)} seeds" if len(reached) < seeds else ""
    return f"{median:g} epoch{'' if median == 1 else 's'}{spread}, {median * epoch_seconds:.0f} s{some}"


def pairs(*runs: str) -> str:
    """Return the table of the tests of every two of these runs, on the test images and over the seeds."""
    rows = []
    for basis, tests in (("test images", COMPARISON["paired_tests"]), ("seeds", COMPARISON["seeds_tests"])):
        for test in tests:
            if {test["first"], test["second"]} <= set(runs):
                size = test["examples"] if basis == "test images" else test["seeds"]
                method = "exact McNemar" if basis == "test images" else "Welch's t"
                rows.append(
                    {
                        "first": f"`{test['first']}`",
                        "second": f"`{test['second']}`",
                        "basis": basis,
                        "n": f"{size:,}" if isinstance(size, int) else " and ".join(map(str, size)),
                        "test": method,
                        "first - second": f"{test['difference']:+.2%}",
                        f"{LEVEL} interval": f"{test['low']:+.2%} to {test['high']:+.2%}",
                        "p (Holm)": f"{test['adjusted']:.2g}",
                    }
                )
    return _table(rows)


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
                    "log's first loss": f"{match['loss']:.3f}" if tested else "no replicates",
                    f"{LEVEL} interval": f"{match['low']:.3f} to {match['high']:.3f}" if tested else "",
                    "p-value": f"{match['p_value']:.2g}" if tested else "",
                    "corrected": f"{match['adjusted']:.3g}" if tested else "",
                    "rank p-value": f"{match['rank_p_value']:.2g}" if tested else "",
                }
            )
    return _table(rows)


def published_conclusions() -> str:
    """Return the list of the conclusions about the published logs, from the report."""
    report = (ROOT / "reports/comparison_mnist.md").read_text(encoding="utf-8")
    conclusions = re.findall(r"### Published as (`\w+`)\n\n(.+)", report)
    return "\n".join(_text(f"- Published as {log}: {text}", hanging=2) for log, text in conclusions)


def optimizers() -> str:
    """Return the table of optimizers that no pipeline run has, compared with a published log, and its conditions."""
    measured = _read("benchmarks/optimizers.json")
    rows = [
        {
            "optimizer": optimizer,
            "losses after one epoch": ", ".join(f"{loss:.3f}" for loss in result["losses"].values()),
            "log's first loss": f"{result['loss']:.3f}",
            f"{LEVEL} interval": f"{result['low']:.3f} to {result['high']:.3f}",
            "p-value": f"{result['p_value']:.2g}",
            "corrected": f"{result['adjusted']:.3g}",
        }
        for optimizer, result in measured["optimizers"].items()
    ]
    not_rejected = [
        name for name, result in measured["optimizers"].items() if result["adjusted"] >= 1 - COMPARISON["confidence"]
    ]
    conclusion = f"Not rejected by the first loss: {', '.join(not_rejected) or 'none'}."
    conditions = (
        f"Conditions: batch size {measured['batch_size']}, one epoch on all training images, Keras' default learning "
        f"rates, momentum 0.9; {_machine(measured)}. The interval is the prediction interval of one more seed. The "
        "p-values are corrected for this table with Holm's method."
    )
    return f"{_table(rows)}\n\n{_text(f'{conclusion} {conditions}')}"


def published_sgd_128() -> str:
    """Return a sentence that compares the log published for SGD at batch size 128 with the run of that name."""
    published, own = COMPARISON["epochs"]["published sgd_128"], COMPARISON["epochs"]["sgd_128"]
    runs, finding = COMPARISON["runs"], COMPARISON["published_logs"]["sgd_128"]
    label = {"rejected": "rejects", "not rejected": "does not reject", "untested": "has not tested"}[finding["label"]]
    return _text(
        f"The notebook publishes {published['val_accuracy'][-1]:.2%} for SGD at batch size 128; this project measures "
        f"{runs['sgd_128']['test_accuracy']['value']:.2%}. After the first epoch the published log has a validation "
        f"accuracy of {published['val_accuracy'][0]:.2%}, and `sgd_128` has {own['val_accuracy'][0]:.2%}. The "
        f"comparison with the seeds {label} the label of this log. The closest run is `{finding['matches'][0]['run']}`."
    )


def conditions() -> str:
    """Return the conditions of the table of the pipeline runs."""
    return _text(
        f"{_setup()} The single runs use two threads, the replicates one. The interval (Wilson) covers the noise of "
        "the test images, and ± is one standard deviation over the seeds."
    )


def seeds_conditions() -> str:
    """Return the conditions of the table of the seeds."""
    return _text(
        f"{_setup()} Each training uses one thread. The accuracy is the one on the test images after the last epoch. "
        "The interval of the mean uses Student's t distribution."
    )


def machines() -> str:
    """Return the table of the single runs on several processors: test accuracy, and whether the bytes are the same."""
    rows = []
    for machine, results in _read("benchmarks/machines.json").items():
        row = {"processor": machine}
        for run in COMPARISON["runs"]:
            result = results.get(run)
            sameness = {None: "", "reference": ", in git", "same": ", same bytes", "other": ", other bytes"}
            row[f"`{run}`"] = f"{result['accuracy']:.2%}{sameness[result['bytes']]}" if result else "not measured"
        rows.append(row)
    return _table(rows)


def memory() -> str:
    """Return a sentence about the peak memory of trainings on few and on many images, with its conditions."""
    measured = _read("benchmarks/memory.json")
    few, many = sorted(measured["megabytes"], key=int)
    low, high = (measured["megabytes"][count]["own"] for count in (few, many))
    return _text(
        f"A training on {int(few):,} images of {_shape(measured['image_shape'])} used at most {low:.0f} MB of its own "
        f"memory, and a training on {int(many):,} such images {high:.0f} MB, {high / low:.2f} times as much. "
        f"Conditions: one epoch at batch size 64, a small network, a single run each; {_machine(measured)}. Pages of "
        "the files come on top, which the system drops when it needs memory."
    )


def own_data() -> str:
    """Return the table of the results on data sets of other packages, and its conditions."""
    measured = _read("benchmarks/data_sets.json")
    rows = []
    for data, result in measured["data_sets"].items():
        accuracy = result["test_accuracy"]
        rows.append(
            {
                "data set": data,
                "classes": result["classes"],
                "images": f"{result['training_images']:,} training, {result['test_images']:,} test",
                "size": _shape(result["image_shape"]),
                "run": f"`{result['run']}`",
                "test accuracy": f"{accuracy['value']:.2%}",
                f"{LEVEL} interval": f"{accuracy['low']:.2%} to {accuracy['high']:.2%}",
            }
        )
    conditions = f"Conditions: a single run each, seed 42; {_machine(measured)}. The interval is Wilson's."
    return f"{_table(rows)}\n\n{_text(conditions)}"


def digits() -> str:
    """Return the table of the accuracy on pictures of digits that are not images of MNIST, and its conditions."""
    measured = _read("benchmarks/digits.json")
    rows = [
        {"pictures": name, "digits": f"{result['digits']:,}", "accuracy": f"{result['accuracy']:.1%}"}
        for name, result in measured["pictures"].items()
    ]
    conditions = (
        f"Conditions: a single run ({_run_settings(measured['run'])}) on all training images of MNIST, seed 42; "
        f"{_machine(measured)}."
    )
    return f"{_table(rows)}\n\n{_text(conditions)}"


def scanned_digits() -> str:
    """Return a sentence about the accuracy on the digits of scikit-learn."""
    pictures = _read("benchmarks/digits.json")["pictures"]
    scanned, resized = pictures["scikit-learn, the other half"], pictures["scikit-learn, only resized"]
    return _text(
        f"A run of `adadelta_128` recognizes {scanned['accuracy']:.1%} of {scanned['digits']:,} digits that were "
        f"written elsewhere, and {resized['accuracy']:.1%} if they are only resized: see "
        "[deployment](docs/deployment.md#classify-pictures)."
    )


def not_sure() -> str:
    """Return sentences about the answers of a run with a threshold to digits and to other pictures, with conditions."""
    measured = _read("benchmarks/not_sure.json")
    calibration, run = measured["calibration"], measured["run"]
    *first, last = (
        f"{result['not_sure']:,} of {result['pictures']:,} {name}" for name, result in measured["pictures"].items()
    )
    others = f"{', '.join(first)} and {last}"
    answers = round(calibration["answered"] * COMPARISON["test_examples"])
    right = round(calibration["answered_accuracy"] * answers)
    low, high = stats.binomtest(right, answers).proportion_ci(COMPARISON["confidence"], "wilson")
    return _text(
        f"With all images, the temperature of this run is {calibration['temperature']:.2f} and its threshold "
        f"{calibration['threshold']:.3f}. {calibration['answered']:.1%} of the test images receive an answer, and "
        f"{right / answers:.2%} of these answers are correct ({LEVEL} interval {low:.2%} to {high:.2%}); without a "
        "threshold, "
        f"{measured['accuracy']:.2%} are. The threshold is fitted on digits and does not recognize other pictures "
        f"reliably. The run is not sure of {others}; to the others it answers with a digit. Conditions: a single run "
        f"({_run_settings(run)}), seed 42; the uniform and random images are given to the network directly, because "
        f"`predict` refuses a uniform picture; {_machine(measured)}."
    )


def duplicates() -> str:
    """Return the table of the duplicates in two data sets, which justifies the limit of near duplicates."""
    measured = _read("benchmarks/audit.json")["duplicates"]
    rows = [
        {
            "data set": data,
            "exact duplicates": f"{counts['exact']:,} pairs",
            **{f"correlation from {limit}": f"{pairs:,} pairs" for limit, pairs in counts["near"].items()},
        }
        for data, counts in measured.items()
    ]
    text = (
        "The limit of 0.99 separates copies from pictures that are only similar: in MNIST, such pairs below "
        "it are mostly two pictures of the digit 1. The last columns count pairs of different images."
    )
    return f"{_table(rows)}\n\n{_text(text)}"


def label_issues() -> str:
    """Return a sentence on how many flipped labels an audit finds, with its conditions."""
    measured = _read("benchmarks/audit.json")
    labels = measured["labels"]
    found, suspects, flipped = (labels[name] for name in ("found", "suspects", "flipped"))
    return _text(
        f"Of the first {labels['images']:,} training images of MNIST, {flipped} labels were flipped at random. The "
        f"audit named {suspects} labels as suspect, of which {found} were flipped ones: a precision of "
        f"{found / suspects:.0%} and a recall of {found / flipped:.0%}. Conditions: {labels['folds']} folds, "
        f"`{labels['training']}`, {labels['out_of_fold_accuracy']:.1%} of the predictions right; a single draw; "
        f"{_machine(measured)}. `python -m benchmarks.audit` repeats this."
    )


def exports() -> str:
    """Return the table of the exports of a run to each format, and its conditions."""
    proofs = _read("benchmarks/export.json")["exports"]
    rows = []
    for proof in proofs:
        times, original = proof["milliseconds_per_image"], proof["original"]
        rows.append(
            {
                "format": f"`{proof['format']}`" + (f", {proof['quantize']}" if proof["quantize"] else ""),
                "size": f"{proof['bytes'] / 1e6:.1f} MB",
                "time per image": f"{times['median']:.2f} ms ({times['5%']:.2f} to {times['95%']:.2f})",
                "accuracy": f"{proof['accuracy']:.2%}",
                "greatest difference": f"{original['greatest_difference']:.1g}",
                "changed predictions": f"{original['changed_predictions']:,} of {proof['test_images']:,}",
            }
        )
    first, runtimes = proofs[0], ", ".join(dict.fromkeys(proof["runtime"] for proof in proofs))
    conditions = (
        f"Conditions: `{first['run']}`, trained on the machine of the measurement, whose accuracy is "
        f"{first['original']['accuracy']:.2%}; a single export each; {runtimes}; {first['cores']} cores, "
        f"{first['processor']}, in use by other programs. The time is the median over the {first['test_images']:,} "
        "test images, one at a time on one thread, with the 5th and the 95th percentile in parentheses. The last two "
        "columns compare the file with the model."
    )
    return f"{_table(rows)}\n\n{_text(conditions)}"


def determinism() -> str:
    """Return the table of the settings that may change the bits of a training, and its conditions."""
    measured = _read("benchmarks/determinism.json")
    rows = []
    for setting in measured["settings"]:
        bits = {run: _bits(setting["changed"].get(run)) for run in measured["runs"]}
        rows.append({"change": setting["name"], **bits, "treatment": _treatment(setting)})
    steps = "; ".join(
        f"{run}: {trained['steps']} gradient steps at batch size {trained['batch_size']}"
        for run, trained in measured["runs"].items()
    )
    conditions = (
        f"Conditions: the notebook's network on the first images of MNIST; {steps}; "
        f"{_machine(measured)}, with the instruction sets {measured['instructions']}. Each training is compared with "
        "one under the project's own settings; the first row repeats that training."
    )
    return f"{_table(rows)}\n\n{_text(conditions)}"


def turn() -> str:
    """Return the table of the seconds around the training of one turn beside their goals, and its conditions."""
    measured = _read("benchmarks/turn.json")
    goals = {"one more run": 12, "nothing to do, 50 runs": 1.5}
    rows = []
    for name, times in measured["seconds"].items():
        goal, cpu = goals.get(name), pd.Series(times["cpu"])
        spread = f"{cpu.min():.2f} to {cpu.max():.2f}, n = {len(cpu)}" if len(cpu) > 1 else "single run"
        rows.append(
            {
                "measurement": name,
                "CPU time": f"{cpu.median():.2f} s ({spread})",
                "wall time": f"{pd.Series(times['wall']).median():.1f} s",
                "goal": f"at most {goal:g} s" if goal else "",
                "reached": ("yes" if cpu.median() <= goal else "no") if goal else "",
            }
        )
    training, test = measured["images"]
    conditions = (
        f"Conditions: {measured['date']}; {training:,} training and {test:,} test images, one epoch, whose training is "
        f"included in `train`; {_machine(measured)}; load averages from {measured['load'][0]:.0f} to "
        f"{measured['load'][1]:.0f}, which is the number of processes that want to run. The CPU time (user and system) "
        "decides whether a goal is reached; with several measurements it is the median, with minimum and maximum. A "
        "stage includes DVC's work after it."
    )
    return f"{_table(rows)}\n\n{_text(conditions)}"


def _bits(changed: list[str] | None) -> str:
    """Return whether a training gave the same bits, from the outputs that differ; None if it did not start."""
    if changed is None:
        return "-"
    return "other" if "weights" in changed else "same weights" if changed else "same"


def _treatment(setting: dict[str, Any]) -> str:
    if setting["treatment"] != "recorded":
        return str(setting["treatment"])
    return f"recorded: {', '.join(f'`{fact}`' for fact in setting['facts'])}"


def _read(file: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((ROOT / file).read_text(encoding="utf-8"))
    return values


def _run_settings(run: dict[str, Any]) -> str:
    return f"{_class({'_target_': run['optimizer']})}, batch size {run['batch_size']}, {run['epochs']} epochs"


def _shape(image_shape: list[int]) -> str:
    return " × ".join(map(str, image_shape))


def _machine(measured: dict[str, Any]) -> str:
    return f"tensorflow {measured['tensorflow']}; {measured['cores']} cores, {measured['processor']}"


def _setup() -> str:
    """Return the data, the library versions and the machine of the results."""
    dataset = _read("reports/dataset_mnist.json")
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    versions = {name: re.search(rf"^{name}==(\S+)", lock, re.MULTILINE) for name in ("tensorflow", "keras", "numpy")}
    installed = ", ".join(f"{name} {found[1]}" for name, found in versions.items() if found)
    return (
        f"Conditions: all {dataset['train']['examples']:,} training and {dataset['test']['examples']:,} test images; "
        f"{installed}; Linux on two virtual cores of an AMD EPYC (Zen 5)."
    )


def _seeds(run: str) -> pd.Series:
    return pd.Series(COMPARISON["seeds"].get(run, {}), dtype=float)


def _optimizer(name: str) -> str:
    config = yaml.safe_load((ROOT / f"conf/optimizer/{name}.yaml").read_text(encoding="utf-8"))
    rate = config["learning_rate"]
    return f"{_class(config)}, {_class(rate) if isinstance(rate, dict) else rate}"


def _class(config: dict[str, Any]) -> str:
    return str(config["_target_"].rpartition(".")[2])


def _table(rows: list[dict[str, Any]]) -> str:
    return str(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))


def _text(sentences: str, hanging: int = 0) -> str:
    return fill(sentences, WIDTH, subsequent_indent=" " * hanging, break_long_words=False, break_on_hyphens=False)
