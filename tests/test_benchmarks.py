"""Computations and reports of the benchmarks."""

import re

import pytest

from benchmarks import determinism, measure, training
from image_classifier.config.schema import Row


def test_training_on_an_image_takes_71_6_million_operations() -> None:
    # Forward 2 x (26 x 26 x 32 x 9 + 24 x 24 x 64 x 288 + 9216 x 128 + 128 x 10); the first layer has no input gradient
    counted = training.operations().values()
    assert (sum(forward for forward, _ in counted), sum(both for _, both in counted)) == (23_984_896, 71_565_312)


def test_epochs_that_were_left_out_take_the_mean_of_the_later_epochs() -> None:
    row = Row(data="mnist", model="cnn", optimizer="sgd", batch_size=32, epochs=10, training="default")
    assert training.extrapolate([25.0, 18.0, 22.0], row) == 205.0


def test_a_ratio_of_medians_comes_with_its_range_over_the_rounds() -> None:
    assert measure.ratio([1.0, 2.0, 9.0], [2.0, 4.0, 3.0]) == "0.667 (0.500 to 3.000)"


def test_a_setting_is_recorded_if_a_fact_of_the_training_differs() -> None:
    trained = {"weights": "a", "history": "b", "facts": {"variables": "none", "cores": "2"}}
    baseline = {"runs": {"SGD": trained}, "replaced": False}
    other = {"runs": {"SGD": {**trained, "weights": "c", "facts": {"variables": "XLA_FLAGS=d", "cores": "2"}}}}
    assert determinism.compare(baseline, {**other, "replaced": False}) == {
        "changed": {"SGD": ["weights"]},
        "treatment": "recorded",
        "facts": ["variables"],
    }
    assert determinism.compare(baseline, baseline)["treatment"] == "none"
    assert determinism.compare(baseline, {**baseline, "replaced": True})["treatment"] == "replaced"
    assert determinism.compare(baseline, {"treatment": "refused"})["treatment"] == "refused"


def test_the_overhead_of_some_runs_excludes_the_stages_of_other_runs() -> None:
    stages = {"fetch@mnist": 1.0, "train@a": 12.0, "evaluate@a": 5.0, "train@b": 7.0}
    row = Row(data="mnist", model="cnn", optimizer="sgd", batch_size=32, epochs=1, training="default")
    pipeline = training.Pipeline(stages, {"a": [10.0], "b": [4.0]})
    assert pipeline.overhead({"a": row}) == pytest.approx(8.0)
    assert pipeline.overhead({"a": row, "b": row}) == pytest.approx(11.0)


def test_the_report_compares_every_ratio_with_its_goal() -> None:
    epochs = {name: [12.0, 10.0] for name in training.ROWS}
    stages = {"fetch@mnist": 1.0} | {f"{kind}@{name}": 25.0 for kind in ("train", "evaluate") for name in training.ROWS}
    notebook = {name: [22.0, 10.0, 30.0] for name in training.NOTEBOOK}
    rates = {"float32": [453.0, 400.0], "bfloat16": [900.0, 800.0]}
    layers = {"convolution_1": 0.01, "pooling": 0.01}
    one = training.Round(notebook, [9.0, 9.0], rates, layers, 2.0, training.Pipeline(stages, epochs))
    written = training.report([one])
    assert re.findall(r"\| (yes|no) +\|$", written, re.MULTILINE) == ["yes", "no", "no", "yes", "no", "no"]
    assert "All layers together take 9.4 s" in written
    without = training.report([training.Round(notebook, None, rates, layers, 2.0, one.pipeline)])
    assert "not measured: PyTorch is not installed" in without
