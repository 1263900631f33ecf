"""Tables and sentences of README.md and docs/ that are made from benchmarks/; docs/tables.py reads reports/."""

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from docs.tables import COMPARISON, LEVEL, class_name, pipeline_epochs, read_json, to_text
from image_classifier.markdown import markdown_table

ARMS = {
    "keras_without_tuner": "Keras' loop without the tuner",
    "keras": "Keras' loop with all defaults, as in the notebook",
    "pytorch": "PyTorch, eager",
    "pytorch_channels_last": "PyTorch, eager, channels last",
}


def training() -> str:
    """Return the table of the seconds of an epoch of `adadelta_128` in the pipeline and in other loops."""
    measured = read_json("benchmarks/training.json")
    rounds, epochs = measured["rounds"], pipeline_epochs()
    ours = epochs["adadelta_128"]
    rows = [_compared("the pipeline", ours)]
    rows += [_compared(name, [times[arm] for times in rounds], ours) for arm, name in ARMS.items()]
    rows.append(_compared("the pipeline, `fast` (bfloat16)", epochs["fast"], ours))
    training_images, test_images = measured["images"]
    forward, both = (sum(passes) for passes in zip(*measured["operations_per_image"].values(), strict=True))
    work = (training_images * both + test_images * forward) / 1e9
    for dtype in rounds[0]["matrix_multiplication"]:
        times = [work / max(times["matrix_multiplication"][dtype]) for times in rounds]
        rows.append(_compared(f"lower bound: matrix multiplication, {dtype}", times, ours))
    conditions = (
        f"Conditions: {_conditions(measured)}, torch {measured['torch']}; {training_images:,} training and "
        f"{test_images:,} test images, batch size {measured['batch_size']}. Each of {len(rounds)} rounds measures "
        "everything once, in an order of its own. An epoch includes its validation, and TensorFlow has built "
        f"its graph before. The intervals of the medians and of the ratio of the medians are bootstrap intervals "
        f"over the rounds, nominally {LEVEL}. With {len(rounds)} rounds, even the range of all values covers the "
        f"median with a probability of only {1 - 2 ** (1 - len(rounds)):.0%}. "
        f"The lower bound is the time of {both / 1e6:.1f} million operations for each training image and "
        f"{forward / 1e6:.1f} million for each test image at the best rate of large matrix multiplications."
    )
    return f"{markdown_table(rows)}\n\n{to_text(conditions)}"


def headline() -> str:
    """Return a sentence with the ratios of an epoch of the pipeline to an epoch of the loops in Keras and PyTorch."""
    rounds, ours = read_json("benchmarks/training.json")["rounds"], pipeline_epochs()["adadelta_128"]
    keras, default, *torch = ([times[arm] for times in rounds] for arm in ARMS)
    fastest = min(torch, key=np.median)
    name = list(ARMS.values())[2:][torch.index(fastest)].removeprefix("PyTorch, ")
    return to_text(
        f"An epoch of the pipeline takes {_ratio(ours, keras)} times as long as an epoch of Keras' loop without the "
        f"tuner. Against the loop as the notebook has it, the ratio is {_ratio(ours, default)}; the two loops "
        f"differ only in the tuner. Against the faster loop in PyTorch ({name}), the ratio is {_ratio(ours, fastest)}. "
        f"Bootstrap intervals over {len(rounds)} rounds, nominally {LEVEL}, are in parentheses."
    )


def layers() -> str:
    """Return the table of the seconds that an epoch of `adadelta_128` spends in each layer, and its conditions."""
    measured = read_json("benchmarks/training.json")
    rounds, operations, images = measured["rounds"], measured["operations_per_image"], measured["images"][0]
    steps = -(-images // measured["batch_size"])
    rows = []
    for name in rounds[0]["layers"]:
        taken = [steps * times["layers"][name] for times in rounds]
        least = [
            images * operations.get(name, (0, 0))[1] / 1e9 / max(times["matrix_multiplication"]["float32"])
            for times in rounds
        ]
        share = f"{np.median(least) / np.median(taken):.0%}" if name in operations else ""
        rows.append({"layer": f"`{name}`", "forward and backward": _seconds(taken), "share of the best rate": share})
    together = [steps * sum(times["layers"].values()) for times in rounds]
    conditions = (
        f"Each layer is timed alone, with {steps} gradient steps of {measured['batch_size']} images. All layers "
        f"together take {_seconds(together)}, and an epoch {_seconds(pipeline_epochs()['adadelta_128'])}. The "
        "difference consists of the optimizer, the validation and the loop. The share compares with large matrix "
        "multiplications in float32."
    )
    return f"{markdown_table(rows)}\n\n{to_text(conditions)}"


def stages() -> str:
    """Return the table of the seconds of each stage of `dvc repro` without the epochs of the trainings."""
    measured = read_json("benchmarks/training.json")
    pipelines = [times["pipeline"] for times in measured["rounds"]]
    rows, sums = [], np.zeros(len(pipelines))
    for stage in pipelines[0]["stages"]:
        kind, _, name = stage.partition("@")
        taken = [
            pipeline["stages"][stage] - (sum(pipeline["epochs"][name]) if kind == "train" else 0.0)
            for pipeline in pipelines
        ]
        sums += taken
        rows.append({"stage": f"`{stage}`" + ", without its epochs" * (kind == "train"), "time": _seconds(taken)})
    rows.append({"stage": "all of these", "time": _seconds(list(sums))})
    return markdown_table(rows)


def scaling() -> str:
    """Return the table of the seconds around the training of one more run and of many, and its conditions."""
    measured = read_json("benchmarks/scaling.json")
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
    training_images, test_images = measured["images"]
    trained = ", ".join(f"`{stage}`" for stage in measured["trained_after_an_edit"])
    conditions = (
        f"An edit of the optimizer of one of {measured['runs']} runs trains {trained}. "
        f"Conditions: {_conditions(measured)}; {training_images:,} training and {test_images:,} test images, one "
        f"epoch, whose training is included in `train`; load averages from {measured['load'][0]:.0f} to "
        f"{measured['load'][1]:.0f}, which is the number of processes that want to run. The CPU time (user and system) "
        "decides whether a goal is reached; with several measurements it is the median, with minimum and maximum. A "
        "stage includes DVC's work after it."
    )
    return f"{markdown_table(rows)}\n\n{to_text(conditions)}"


def sweep() -> str:
    """Return a sentence about the duration of a sweep of short trials, with its conditions."""
    measured = read_json("benchmarks/sweep.json")
    seconds, trials = pd.Series(measured["seconds"]), measured["trials"]
    training_images, test_images = measured["images"]
    return to_text(
        f"A sweep of {trials} short trials takes {seconds.median():.0f} s ({seconds.min():.0f} to {seconds.max():.0f}, "
        f"n = {len(seconds)}), which is {60 * trials / seconds.median():.0f} trials per minute. Conditions: "
        f"{_conditions(measured)}; {training_images:,} training and {test_images:,} test images, one epoch; two trials "
        "at a time. The time runs from the start of the command to its end."
    )


def _compared(name: str, times: list[float], reference: list[float] | None = None) -> dict[str, str]:
    """Return a row with the times of an epoch, and with the ratio of a reference to them."""
    return {
        "": name,
        "epoch": _seconds(times),
        "the pipeline's epoch / this epoch": _ratio(reference, times) if reference else "",
    }


def _seconds(times: list[float]) -> str:
    low, high = _interval(times)
    return f"{np.median(times):.1f} s ({low:.1f} to {high:.1f}, n = {len(times)})"


def _ratio(times: list[float], others: list[float]) -> str:
    """Return the ratio of two medians of times that were measured side by side, with its bootstrap interval."""
    low, high = _interval(times, others)
    return f"{np.median(times) / np.median(others):.2f} ({low:.2f} to {high:.2f})"


def _interval(*samples: list[float]) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a median, or of the ratio of the medians of paired samples."""

    def statistic(*resampled: np.ndarray, axis: int = -1) -> Any:
        medians = [np.median(times, axis) for times in resampled]
        return medians[0] if len(medians) == 1 else np.divide(*medians)

    found = stats.bootstrap(
        samples,
        statistic,
        paired=len(samples) > 1,
        vectorized=True,
        confidence_level=COMPARISON["confidence"],
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)


def _conditions(measured: dict[str, Any]) -> str:
    return f"{measured['date']}, commit {measured['commit']}; {_machine(measured)}"


def optimizers() -> str:
    """Return the table of optimizers that no pipeline run has, compared with a published log, and its conditions."""
    measured = read_json("benchmarks/optimizers.json")
    rows = [
        {
            "optimizer": optimizer,
            "losses after one epoch": ", ".join(f"{loss:.3f}" for loss in result["losses"].values()),
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
        f"rates, momentum 0.9; {_machine(measured)}. The interval is the prediction interval of one more seed. The "
        "p-values are corrected for this table with Holm's method."
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
        f"Conditions: one epoch at batch size 64, a small network, a single run each; {_machine(measured)}. Pages of "
        "the files come on top, which the system drops when it needs memory."
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
    conditions = f"Conditions: a single run each, seed 42; {_machine(measured)}. The interval is Wilson's."
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
        f"{_machine(measured)}."
    )
    return f"{markdown_table(rows)}\n\n{to_text(conditions)}"


def scanned_digits() -> str:
    """Return a sentence about the accuracy on the digits of scikit-learn."""
    pictures = read_json("benchmarks/digits.json")["pictures"]
    scanned, resized = pictures["scikit-learn, the other half"], pictures["scikit-learn, only resized"]
    right = round(scanned["accuracy"] * scanned["digits"])
    low, high = stats.binomtest(right, scanned["digits"]).proportion_ci(COMPARISON["confidence"], "wilson")
    return to_text(
        f"A single run of `adadelta_128` recognizes {scanned['accuracy']:.1%} ({LEVEL} interval {low:.1%} to "
        f"{high:.1%}) of {scanned['digits']:,} digits that were written elsewhere, and {resized['accuracy']:.1%} of "
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
    low, high = stats.binomtest(right, answers).proportion_ci(COMPARISON["confidence"], "wilson")
    return to_text(
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
        f"{_machine(measured)}. `python -m benchmarks.audit` repeats this."
    )


def people() -> str:
    """Return a sentence that compares the disputed test labels of MNIST with the judgement of people."""
    measured = read_json("benchmarks/audit.json")
    found, examples = measured["without_majority"], COMPARISON["test_examples"]
    runs = ", ".join(f"`{run}`" for run in found["runs"])
    return to_text(
        f"For {found['images']} of the {examples:,} test images of MNIST, at most two of five people chose the label "
        "([arXiv:2103.14749](https://arxiv.org/abs/2103.14749), which showed 100 images to people). The runs "
        f"{runs} are all wrong about {found['wrong_for_all']} test images, and "
        f"{found['wrong_for_all_without_majority']} of these are among the {found['images']}. Disputed labels, with a "
        f"probability of {found['probability']:g} for each run: {found['disputed']}, of which "
        f"{found['disputed_without_majority']} are among the {found['images']}. Conditions: a single run each, seed "
        f"42; {_machine(measured)}."
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
        f"{_machine(measured)}, with the instruction sets {measured['instructions']}. Each training is compared with "
        "one under the project's own settings; the first row repeats that training."
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


def _machine(measured: dict[str, Any]) -> str:
    family = f" (family {measured['processor_family']})" if "processor_family" in measured else ""
    return f"tensorflow {measured['tensorflow']}; {measured['cores']} cores, {measured['processor']}{family}"
