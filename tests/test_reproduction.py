from typing import Any

import pandas as pd
import pytest

from image_classifier.reproduction import describe_reproduction

STAGE = {"cmd": "train", "deps": {"code": "1"}, "params": {"a.yaml": {"b": 1}}, "outs": {"model.h5": "2"}}
OTHER_BYTES = {**STAGE, "outs": {"model.h5": "3"}}
REPLICATES = pd.DataFrame(
    {"environment": "0123abcd", "seed": [1, 2, 3], "epoch": 1, "loss": 0.1, "val_accuracy": [0.97, 0.98, 0.99]},
)  # with Student's t quantile 4.303: 0.98 ± 4.303 * 0.01 * sqrt(4/3), at most 1


def judged(trained: dict[str, Any] = OTHER_BYTES, accuracy: float = 0.98, committed: Any = STAGE) -> str:
    return describe_reproduction(committed, trained, accuracy, REPLICATES, 0.95)


def test_equal_bytes_are_reproduced() -> None:
    assert judged(STAGE) == "reproduced, the same bytes as in git."


@pytest.mark.parametrize("key", ["cmd", "deps", "params"])
def test_a_result_with_other_inputs_is_not_compared(key: str) -> None:
    assert judged({**STAGE, key: {"other": "input"}}).startswith("not compared")


def test_a_new_run_has_nothing_to_be_compared_with() -> None:
    assert judged(committed=None) == "git has no result to compare with."


def test_other_bytes_within_the_prediction_interval_are_reproduced_within_the_noise() -> None:
    evidence = (
        "98.00% test accuracy; the 95% prediction interval of 3 seeds of environment 0123abcd is 93.03% to 100.00%"
    )
    assert judged() == f"reproduced within the noise of the seeds, other bytes than in git ({evidence})."


def test_an_accuracy_outside_of_the_prediction_interval_is_not_reproduced() -> None:
    assert judged(accuracy=0.93).startswith("NOT reproduced (93.00% test accuracy;")


def test_other_bytes_of_a_run_without_replicates_are_not_judged() -> None:
    assert describe_reproduction(STAGE, OTHER_BYTES, 0.5, None, 0.95).endswith(
        "There are no replicates to judge it by."
    )
