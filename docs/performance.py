"""Tables and sentences of docs/performance.md that are made from benchmarks/."""

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from docs.tables import COMPARISON, LEVEL, format_machine, pipeline_epochs, read_json, to_text
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
        f"together take {_seconds(together)}, and an epoch {_seconds(pipeline_epochs()['adadelta_128'])}. An "
        "epoch also contains the optimizer, the validation and the loop; the difference does not measure these, "
        "because a layer alone is not exactly as fast as within a training. The share compares with large matrix "
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
    return f"{measured['date']}, commit {measured['commit']}; {format_machine(measured)}"
