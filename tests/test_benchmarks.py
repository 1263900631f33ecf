"""Computations and reports of the benchmarks."""

from benchmarks import audit, determinism, training
from image_classifier.dataset import Arrays


def test_training_on_an_image_takes_71_6_million_operations() -> None:
    # Forward 2 x (26 x 26 x 32 x 9 + 24 x 24 x 64 x 288 + 9216 x 128 + 128 x 10); the first layer has no input gradient
    counted = training.operations().values()
    assert (sum(forward for forward, _ in counted), sum(both for _, both in counted)) == (23_984_896, 71_565_312)


def test_the_labels_that_people_judged_are_those_of_the_test_images(raw: Arrays) -> None:
    assert raw["test_labels"][list(audit.WITHOUT_MAJORITY)].tolist() == list(audit.WITHOUT_MAJORITY.values())


def test_a_setting_is_recorded_if_a_fact_of_the_training_differs() -> None:
    trained = {"weights": "a", "history": "b", "facts": {"variables": "none", "cores": "2"}, "replaced": False}
    other = {**trained, "weights": "c", "facts": {"variables": "XLA_FLAGS=d", "cores": "2"}}
    crashed = {"treatment": "crashes"}
    baseline = {"SGD": trained, "Nadam": trained}
    assert determinism.compare(baseline, {"SGD": other, "Nadam": crashed}) == {
        "changed": {"SGD": ["weights"]},
        "treatment": "recorded",
        "facts": ["variables"],
    }
    replaced = {run: {**trained, "replaced": True} for run in baseline}
    assert determinism.compare(baseline, baseline)["treatment"] == "none"
    assert determinism.compare(baseline, replaced)["treatment"] == "replaced"
    assert determinism.compare(baseline, {run: {"treatment": "refused"} for run in baseline})["treatment"] == "refused"
