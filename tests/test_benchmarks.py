"""What the benchmarks compute; what they measure is no test."""

import re

import pytest

from benchmarks import measure, training
from mnist_cnn.schema import Row


def test_a_trained_image_costs_71_6_million_operations_a_third_of_them_forward() -> None:
    # Forward 2 x (26 x 26 x 32 x 9 + 24 x 24 x 64 x 288 + 9216 x 128 + 128 x 10); the first layer has no input gradient
    counted = training.operations().values()
    assert (sum(forward for forward, _ in counted), sum(both for _, both in counted)) == (23_984_896, 71_565_312)


def test_the_epochs_after_the_first_stand_for_those_that_were_left_out() -> None:
    row = Row(optimizer="sgd", batch_size=32, epochs=10, training="default")
    assert training.full([25.0, 18.0, 22.0], row) == 205.0


def test_a_ratio_is_of_the_medians_with_the_least_and_greatest_of_a_round() -> None:
    assert measure.ratio([1.0, 2.0, 9.0], [2.0, 4.0, 3.0]) == "0.667 (0.500 to 3.000)"


def test_the_pipeline_of_some_runs_has_the_common_stages_and_theirs() -> None:
    stages = {"fetch": 1.0, "train@a": 12.0, "evaluate@a": 5.0, "train@b": 7.0}
    row = Row(optimizer="sgd", batch_size=32, epochs=1, training="default")
    pipeline = training.Pipeline(stages, {"a": [10.0], "b": [4.0]})
    assert pipeline.around({"a": row}) == pytest.approx(8.0)
    assert pipeline.around({"a": row, "b": row}) == pytest.approx(11.0)


def test_the_report_holds_every_ratio_against_its_goal() -> None:
    epochs = {name: [12.0, 10.0] for name in training.ROWS}
    stages = {"fetch": 1.0} | {f"{kind}@{name}": 25.0 for kind in ("train", "evaluate") for name in training.ROWS}
    of_notebook = {name: [22.0, 10.0, 30.0] for name in training.NOTEBOOK}
    rates = {"float32": [453.0, 400.0], "bfloat16": [900.0, 800.0]}
    layers = {"convolution_1": 0.01, "pooling": 0.01}
    one = training.Round(of_notebook, [9.0, 9.0], rates, layers, 2.0, training.Pipeline(stages, epochs))
    written = training.report([one])
    assert re.findall(r"\| (yes|no) +\|$", written, re.MULTILINE) == ["yes", "no", "no", "yes", "no", "no"]
    assert "all layers take 9.4 s" in written
    without = training.report([training.Round(of_notebook, None, rates, layers, 2.0, one.pipeline)])
    assert "not measured: PyTorch is not installed" in without
