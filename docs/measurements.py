"""Tables and sentences of README.md and most pages of docs/ that are made from benchmarks/."""

from typing import Any

from scipy import stats

from docs.tables import COMPARISON, LEVEL, class_name, format_machine, read_json, to_text
from image_classifier.markdown import markdown_table


def optimizers() -> str:
    """Return the table of further optimizers, compared with a published log, and its conditions."""
    measured = read_json("benchmarks/optimizers.json")
    rows = [
        {
            "optimizer": optimizer,
            "loss of the first epoch, by seed": ", ".join(f"{loss:.3f}" for loss in result["losses"].values()),
            "log's first loss": f"{result['loss']:.3f}",
            f"{LEVEL} interval": f"{result['low']:.3f} to {result['high']:.3f}",
            "p-value": f"{result['p_value']:.2g}",
            "corrected": f"{result['adjusted']:.2g}",
        }
        for optimizer, result in measured["optimizers"].items()
    ]
    not_rejected = [
        name for name, result in measured["optimizers"].items() if result["adjusted"] >= 1 - COMPARISON["confidence"]
    ]
    conclusion = f"Not rejected by the first loss: {', '.join(not_rejected) or 'none'}."
    conditions = (
        f"Conditions: batch size {measured['batch_size']}, one epoch on all training images, Keras' default learning "
        f"rates, momentum 0.9; one thread for each training; {format_machine(measured)}. The interval is the "
        "prediction interval of one more seed. The p-values are corrected for this table with Holm's method."
    )
    return f"{markdown_table(rows)}\n\n{to_text(f'{conclusion} {conditions}')}"


def machines() -> str:
    """Return the table of the single runs on several processors: test accuracy, and whether the bytes are the same."""
    rows = []
    for machine, results in read_json("benchmarks/machines.json").items():
        row = {"processor": machine}
        for run in COMPARISON["runs"]:
            result = results.get(run)
            sameness = {None: "", "reference": ", in git", "same": ", same bytes", "other": ", other bytes"}
            row[f"`{run}`"] = f"{result['accuracy']:.2%}{sameness[result['bytes']]}" if result else "not measured"
        rows.append(row)
    return markdown_table(rows)


def memory() -> str:
    """Return a sentence about the peak memory of trainings on few and on many images, with its conditions."""
    measured = read_json("benchmarks/memory.json")
    few, many = sorted(measured["megabytes"], key=int)
    low, high = (measured["megabytes"][count]["own"] for count in (few, many))
    return to_text(
        f"A training on {int(few):,} images of {_shape(measured['image_shape'])} used at most {low:.0f} MB of its own "
        f"memory, and a training on {int(many):,} such images {high:.0f} MB, {high / low:.2f} times as much. "
        f"Conditions: one epoch at batch size 64, a small network, a single run each; {format_machine(measured)}. "
        "Pages of the files come on top, which the system drops when it needs memory."
    )


def own_data() -> str:
    """Return the table of the results on data sets of other packages, and its conditions."""
    measured = read_json("benchmarks/data_sets.json")
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
    conditions = f"Conditions: a single run each, seed 42; {format_machine(measured)}. The interval is Wilson's."
    return f"{markdown_table(rows)}\n\n{to_text(conditions)}"


def digits() -> str:
    """Return the table of the accuracy on pictures of digits that are not images of MNIST, and its conditions."""
    measured = read_json("benchmarks/digits.json")
    rows = [
        {"pictures": name, "digits": f"{result['digits']:,}", "accuracy": f"{result['accuracy']:.1%}"}
        for name, result in measured["pictures"].items()
    ]
    conditions = (
        f"Conditions: a single run ({_run_settings(measured['run'])}) on all training images of MNIST, seed 42; "
        f"{format_machine(measured)}."
    )
    return f"{markdown_table(rows)}\n\n{to_text(conditions)}"


def scanned_digits() -> str:
    """Return a sentence about the accuracy on the digits of scikit-learn."""
    pictures = read_json("benchmarks/digits.json")["pictures"]
    scanned, resized = pictures["scikit-learn, the other half"], pictures["scikit-learn, only resized"]
    right = round(scanned["accuracy"] * scanned["digits"])
    return to_text(
        f"A single run of `adadelta_128` recognizes {scanned['accuracy']:.1%} ({_wilson(right, scanned['digits'], 1)}) "
        f"of {scanned['digits']:,} digits that were written elsewhere, and {resized['accuracy']:.1%} of "
        f"{resized['digits']:,} if they are only resized: see [deployment](docs/deployment.md#measured-accuracy)."
    )


def not_sure() -> str:
    """Return sentences about the answers of a run with a threshold to digits and to other pictures, with conditions."""
    measured = read_json("benchmarks/not_sure.json")
    calibration, run = measured["calibration"], measured["run"]
    *first, last = (
        f"{result['not_sure']:,} of {result['pictures']:,} {name}" for name, result in measured["pictures"].items()
    )
    others = f"{', '.join(first)} and {last}"
    answers = round(calibration["answered"] * COMPARISON["test_examples"])
    right = round(calibration["answered_accuracy"] * answers)
    return to_text(
        f"With all images, the temperature of this run is {calibration['temperature']:.2f} and its threshold "
        f"{calibration['threshold']:.3f}. {calibration['answered']:.1%} of the test images receive an answer, and "
        f"{right / answers:.2%} of these answers are correct ({_wilson(right, answers, 2)}); without a threshold, "
        f"{measured['accuracy']:.2%} are. The threshold is fitted on digits and does not recognize other pictures "
        f"reliably. The run is not sure of {others}; to the others it answers with a digit. Conditions: a single run "
        f"({_run_settings(run)}), seed 42; the uniform and random images are given to the network directly, because "
        f"`predict` refuses a uniform picture; {format_machine(measured)}."
    )


def duplicates() -> str:
    """Return the table of the duplicates in two data sets, which justifies the limit of near duplicates."""
    measured = read_json("benchmarks/audit.json")["duplicates"]
    rows = [
        {
            "data set": data,
            "exact duplicates": f"{counts['exact']:,} pairs",
            **{f"correlation from {limit}": f"{pairs:,} pairs" for limit, pairs in counts["near"].items()},
        }
        for data, counts in measured.items()
    ]
    text = (
        f"The limit of 0.99 keeps the list short. The {measured['mnist']['near']['0.99']} pairs of MNIST above it are "
        "pictures of the digit 1, which may only be similar. The last columns count pairs of different images."
    )
    return f"{markdown_table(rows)}\n\n{to_text(text)}"


def label_issues() -> str:
    """Return a sentence on how many flipped labels an audit finds, with its conditions."""
    measured = read_json("benchmarks/audit.json")
    labels = measured["labels"]
    found, suspects, flipped = (labels[name] for name in ("found", "suspects", "flipped"))
    return to_text(
        f"Of the first {labels['images']:,} training images of MNIST, {flipped} labels were flipped at random. The "
        f"audit named {suspects} labels as suspect, of which {found} were flipped ones: a precision of "
        f"{found / suspects:.0%} and a recall of {found / flipped:.0%}. Conditions: {labels['folds']} folds, "
        f"`{labels['training']}`, {labels['out_of_fold_accuracy']:.1%} of the predictions right; a single draw; "
        f"{format_machine(measured)}. `python -m benchmarks.audit` repeats this."
    )


def people() -> str:
    """Return a sentence that compares the disputed test labels of MNIST with the judgement of people."""
    measured = read_json("benchmarks/audit.json")
    found, examples = measured["without_majority"], COMPARISON["test_examples"]
    runs = ", ".join(f"`{run}`" for run in found["runs"])
    return to_text(
        f"[arXiv:2103.14749](https://arxiv.org/abs/2103.14749) showed 100 of the {examples:,} test images of MNIST to "
        f"five people each. For {found['images']} of these images, at most two people chose the label. The runs {runs} "
        f"are all wrong about {found['wrong_for_all']} test images, and {found['wrong_for_all_without_majority']} of "
        f"these are among the {found['images']}. Disputed labels, for which each run gives the same other class a "
        f"probability of at least {found['probability']:g}: {found['disputed']}, of which "
        f"{found['disputed_without_majority']} are among the {found['images']}. Conditions: a single run each, seed "
        f"42; {format_machine(measured)}."
    )


def exports() -> str:
    """Return the table of the exports of a run to each format, and its conditions."""
    proofs = read_json("benchmarks/export.json")["exports"]
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
    return f"{markdown_table(rows)}\n\n{to_text(conditions)}"


def determinism() -> str:
    """Return the table of the settings that may change the bits of a training, and its conditions."""
    measured = read_json("benchmarks/determinism.json")
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
        f"{format_machine(measured)}, with the instruction sets {measured['instructions']}. Each training is compared "
        "with one under the project's own settings; the first row repeats that training."
    )
    return f"{markdown_table(rows)}\n\n{to_text(conditions)}"


def _bits(changed: list[str] | None) -> str:
    """Return whether a training gave the same bits, from the outputs that differ; None if it did not start."""
    if changed is None:
        return "-"
    return "other" if "weights" in changed else "same weights" if changed else "same"


def _treatment(setting: dict[str, Any]) -> str:
    if setting["treatment"] != "recorded":
        return str(setting["treatment"])
    return f"recorded: {', '.join(f'`{fact}`' for fact in setting['facts'])}"


def _run_settings(run: dict[str, Any]) -> str:
    return f"{class_name({'_target_': run['optimizer']})}, batch size {run['batch_size']}, {run['epochs']} epochs"


def _shape(image_shape: list[int]) -> str:
    return " × ".join(map(str, image_shape))


def _wilson(right: int, answers: int, decimals: int) -> str:
    """Return Wilson's interval of the share of right answers, as text."""
    low, high = stats.binomtest(right, answers).proportion_ci(COMPARISON["confidence"], "wilson")
    return f"{LEVEL} interval {low:.{decimals}%} to {high:.{decimals}%}"
