import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from image_classifier import paths
from image_classifier.compare import predictions
from image_classifier.compare.environments import FACTS, describe_environment
from image_classifier.compare.report import compare_runs, format_report
from image_classifier.compare.seeds import COLUMNS
from image_classifier.compare.significance import seeds_tests
from image_classifier.config.compose import compose, resolve
from image_classifier.config.schema import Compare, Row
from image_classifier.dataset import DESCRIPTION
from image_classifier.errors import InputError

TABLE = {
    "good": Row(data="mnist", model="cnn", optimizer="adam", batch_size=64, epochs=2, training="default"),
    "bad": Row(data="mnist", model="cnn", optimizer="sgd", batch_size=8, epochs=2, training="default"),
}


def compare(data: str) -> tuple[dict[str, Any], Figure]:
    recipes = {"good": "of good", "bad": "of bad"}
    config = resolve(Compare, compose("compare", ["confidence=0.9", "margin=0.01", "max_epoch_lag=0"]))
    return compare_runs(
        TABLE, recipes, config.model_copy(update={"data": config.data.model_copy(update={"name": data})})
    )


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, history: pd.DataFrame) -> dict[str, Any]:
    """Report on a run with ten and a run with five of ten images correct, without replicates."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "PUBLISHED", tmp_path / "published")
    for name in ("REPLICATES", "REPLICATES_ENVIRONMENTS", "REPLICATES_PREDICTIONS"):
        monkeypatch.setattr(paths, name, tmp_path / f"{name}.csv")
    correct = np.eye(10)
    half = np.where(np.arange(10)[:, np.newaxis] < 5, correct, np.roll(correct, 1, axis=1))
    for run, probabilities, loss in (("good", correct, 0.01), ("bad", half, 0.5)):
        files = paths.pipeline_run("mnist", run)
        files.directory.mkdir(parents=True)
        history.assign(loss=history["loss"] if run == "good" else 0.9).to_csv(files.history)
        np.savez(files.predictions, probabilities=probabilities, labels=np.arange(10))
        files.metrics.write_text(json.dumps({"test_loss": loss}))
        files.configuration.write_text("training: {label_smoothing: 0.0}")
    for data in ("mnist", "letters"):
        write_examples(paths.prepared_data(data))
    paths.PUBLISHED.mkdir()
    history.assign(run="bad").to_csv(paths.published_history("mnist"))
    pd.DataFrame(columns=COLUMNS).to_csv(paths.REPLICATES, index=False)
    pd.DataFrame(columns=predictions.COLUMNS).to_csv(paths.REPLICATES_PREDICTIONS, index=False)
    pd.DataFrame(columns=["environment", *FACTS]).to_csv(paths.REPLICATES_ENVIRONMENTS, index=False)
    return compare("mnist")[0]


def write_examples(folder: Path) -> None:
    """Write ten test images, one of each class, and as many training images."""
    folder.mkdir(parents=True)
    for part in ("train", "test"):
        np.save(folder / f"{part}_images.npy", np.zeros((10, 4, 4, 1), np.uint8))
        np.save(folder / f"{part}_labels.npy", np.arange(10))
    (folder / DESCRIPTION).write_text(json.dumps({"classes": list("abcdefghij")}))


def add_replicates(*environments: str, mistakes: str | None = None) -> None:
    """Write two seeds of both runs in each environment, and their predictions if they have the given mistakes."""
    key = [
        (run, f"of {run}", environment, seed)
        for run in ("good", "bad")
        for environment in environments
        for seed in (1, 2)
    ]
    rows = [(*of_seed, epoch, 0.1, 0.9, 0.1, 0.9 + of_seed[-1] / 100) for of_seed in key for epoch in (1, 2)]
    pd.DataFrame(rows, columns=COLUMNS).to_csv(paths.REPLICATES, index=False)
    if mistakes is not None:
        predicted = pd.DataFrame([(*of_seed, 10, mistakes) for of_seed in key], columns=predictions.COLUMNS)
        predicted.to_csv(paths.REPLICATES_PREDICTIONS, index=False)


def test_the_report_can_be_written_as_json(report: dict[str, Any]) -> None:
    values = json.loads(json.dumps(report))
    assert values["runs"]["bad"]["test_accuracy"]["value"] == 0.5
    assert values["published_logs"]["bad"]["label"] == "untested"
    assert values["epochs"]["published bad"]["epoch"] == [1, 2]
    assert format_report(values) == format_report(report)


def test_the_page_begins_with_the_table_of_results(report: dict[str, Any]) -> None:
    beginning = format_report(report).split("\n## ")[0]
    assert "90% interval" in beginning
    assert "| `good` | cnn     | adam        | 64           | 2        | default    | 100.00%" in beginning


def test_the_loss_of_a_run_with_label_smoothing_is_marked(report: dict[str, Any]) -> None:
    assert "label smoothing" not in format_report(report)
    paths.pipeline_run("mnist", "bad").configuration.write_text("training: {label_smoothing: 0.05}")
    page = format_report(compare("mnist")[0])
    assert "| 0.0100 " in page
    assert "| 0.5000* " in page
    assert "\n\\* Trained with label smoothing" in page


def test_the_test_and_the_margin_decide_the_verdict(report: dict[str, Any]) -> None:
    assert "| 0.062            | better     |" in format_report(report)
    assert "| 0.062            | at most 1.00% worse |" in format_report({**report, "confidence": 0.95})


def test_without_replicates_the_page_shows_the_command_that_trains_them(report: dict[str, Any]) -> None:
    assert "These runs have no replicates. Train some: `image-classifier replicate RUN`" in format_report(report)


def test_the_page_compares_the_runs_over_their_seeds(report: dict[str, Any]) -> None:
    seeds = {"good": pd.Series([0.99, 0.98, 0.985], [1, 2, 3]), "bad": pd.Series([0.5, 0.51, 0.49], [1, 2, 3])}
    selection = {run: {"environment": "here", "left_out": {}} for run in seeds}
    tests = seeds_tests(seeds, 0.9, {})
    page = format_report({**report, "seeds": seeds, "seeds_selection": selection, "seeds_tests": tests})
    assert "| `good` | 3       | 98.50% | 0.50%" in page
    assert "| `good`  | `bad`    | 3 and 3 | +48.50%" in page
    assert "| better     | 5 to 45        |" in page


def test_replicates_of_the_current_recipe_are_part_of_the_report(report: dict[str, Any]) -> None:
    rows = [
        ("good", recipe, "unknown", seed, epoch, 0.1, 0.9, 0.1, 0.9 + seed / 100)
        for recipe in ("of good", "old")
        for seed in (1, 2)
        for epoch in (1, 2)
    ]
    pd.DataFrame(rows, columns=COLUMNS).to_csv(paths.REPLICATES, index=False)
    report, figure = compare("mnist")
    assert report["seeds"] == {"good": {"1": pytest.approx(0.91), "2": pytest.approx(0.92)}}
    assert [len(axes.collections) for axes in figure.axes] == [1, 1]


@pytest.mark.usefixtures("report")
def test_the_page_has_intervals_for_other_images_if_the_seeds_have_predictions() -> None:
    add_replicates("unknown", mistakes="3:4")
    page = format_report(compare("mnist")[0])
    assert "| 90% interval, other images   |" in page
    assert "needs predictions" not in page


@pytest.mark.usefixtures("report")
def test_the_page_names_the_runs_whose_seeds_have_no_predictions() -> None:
    add_replicates("unknown")
    page = format_report(compare("mnist")[0])
    assert "interval, other images" not in page
    assert "needs predictions, which the seeds of good, bad lack." in page
    assert "Add them: `image-classifier replicate good bad --seeds 2`" in page


def test_the_page_says_that_seeds_of_different_environments_are_compared(report: dict[str, Any]) -> None:
    tests = seeds_tests({run: pd.Series([0.5, 0.6], [1, 2]) for run in TABLE}, 0.9, {})
    seeds = {run: {1: 0.5, 2: 0.6} for run in TABLE}
    for environments, is_said in (("aa", False), ("ab", True)):
        selection = dict(zip(TABLE, ({"environment": name, "left_out": {}} for name in environments), strict=True))
        page = format_report({**report, "seeds": seeds, "seeds_selection": selection, "seeds_tests": tests})
        assert ("their difference can come from the machine" in page) is is_said


@pytest.mark.usefixtures("report")
def test_the_page_describes_the_environment_of_the_seeds_and_counts_the_others() -> None:
    environment = describe_environment({"processor": "a processor", "tensorflow": "2.21.0"}, threads=2)
    environment.reset_index().to_csv(paths.REPLICATES_ENVIRONMENTS, index=False)
    (name,) = environment.index
    add_replicates("unknown", name)
    page = format_report(compare("mnist")[0])
    assert f"| `{name}`    | 2          |" in page
    assert f"- `{name}`: a processor, family unknown (unknown); 2 threads; tensorflow 2.21.0, keras unknown" in page
    assert "Left out: 2 of `good` in `unknown`, 2 of `bad` in `unknown`." in page


def test_the_page_shows_the_closest_match_of_a_published_log(report: dict[str, Any]) -> None:
    page = format_report(report)
    assert "at least as many epochs as the log. The closest match is `good` at lag 0 (loss ratio " in page


@pytest.mark.parametrize(
    ("second", "named"),
    [
        (0.008, ", the only one of the tested runs and lags that is not rejected."),
        (0.2, ". Not rejected: `good` at lag 1 (loss ratio 1.50), `bad` at lag 0 (loss ratio 1.50)."),
    ],
)
def test_the_page_names_the_matches_that_the_seeds_do_not_reject(
    report: dict[str, Any], second: float, named: str
) -> None:
    tested = {"seeds": 3, "loss": 0.15, "low": 0.1, "high": 0.2, "rank_p_value": 0.25, "loss_ratio": 1.5}
    matches = [
        {"run": "good", "lag": 1, "p_value": 0.5, "adjusted": 0.5, **tested},
        {"run": "bad", "lag": 0, "p_value": second / 2, "adjusted": second, **tested},
    ]
    page = format_report({**report, "published_logs": {"bad": {"label": "rejected", "matches": matches}}})
    assert f"The closest match is `good` at lag 1 (loss ratio 1.50){named}" in page


def test_the_page_says_that_the_first_loss_rejects_a_label(report: dict[str, Any]) -> None:
    match = {"run": "bad", "lag": 0, "p_value": 0.004, "adjusted": 0.008, "loss_ratio": 1.5}
    tested = {"seeds": 3, "loss": 0.15, "low": 0.1, "high": 0.2, "rank_p_value": 0.25}
    logs = {"bad": {"label": "rejected", "matches": [{**match, **tested}]}}
    conclusion = "the log's first loss does not fit the seeds of this run (corrected p = 0.008)."
    assert f"**The label is rejected**: {conclusion}" in format_report({**report, "published_logs": logs})


def test_every_metric_is_shown_by_epoch_for_runs_and_published_logs(report: dict[str, Any]) -> None:
    page = format_report(report)
    for title in ("Validation accuracy", "Training accuracy", "Validation loss", "Training loss"):
        assert f"### {title}\n\n|   epoch |   good |    bad |   published bad |" in page


def test_the_page_names_the_data_set_and_its_figure(report: dict[str, Any]) -> None:
    page = format_report(report)
    assert page.startswith("# Pipeline runs on mnist\n")
    assert "](comparison_mnist.png)\n" in page


@pytest.mark.usefixtures("report")
def test_the_page_of_a_data_set_without_published_logs_has_no_section_about_them(tmp_path: Path) -> None:
    (tmp_path / "runs/mnist").rename(tmp_path / "runs/letters")
    report, figure = compare("letters")
    assert report["published_logs"] == {}
    page = format_report(json.loads(json.dumps(report)))
    assert "published" not in page
    assert "comparison_letters.png)\n\n## Epoch by epoch\n" in page
    assert {line.get_label() for axes in figure.axes for line in axes.lines} >= {"good", "bad"}


@pytest.mark.usefixtures("report")
def test_predictions_for_other_test_images_are_refused() -> None:
    file = paths.pipeline_run("mnist", "bad").predictions
    np.savez(file, probabilities=np.eye(10), labels=np.arange(10)[::-1])
    with pytest.raises(InputError, match=r"bad/predictions\.npz and data/prepared/ have other test images"):
        compare("mnist")
