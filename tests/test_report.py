import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mnist_cnn import comparison, report
from mnist_cnn.schema import Row


@pytest.fixture
def built(history: pd.DataFrame) -> report.Report:
    labels = np.arange(10)
    right = np.eye(10)
    wrong = np.roll(right, 1, axis=1)
    half = np.where(np.arange(10)[:, np.newaxis] < 5, right, wrong)
    return report.build(
        table={
            "good": Row(optimizer="adam", batch_size=64, epochs=2, training="default"),
            "bad": Row(optimizer="sgd", batch_size=8, epochs=2, training="default"),
        },
        histories={"good": history, "bad": history.assign(loss=0.9)},
        predictions={
            "good": {"probabilities": right, "labels": labels},
            "bad": {"probabilities": half, "labels": labels},
        },
        losses={"good": 0.01, "bad": 0.5},
        published={"bad": history},
        confidence=0.9,
        largest_shift=0,
        seeds={},
    )


def test_the_report_can_be_written_as_json(built: report.Report) -> None:
    read = json.loads(json.dumps(built.to_dict()))
    assert read["runs"]["bad"]["test_accuracy"]["value"] == 0.5
    assert read["published_logs"]["bad"]["label"] == "open"
    assert read["epochs"]["published bad"]["epoch"] == [1, 2]


def test_the_page_begins_with_the_table_of_results(built: report.Report) -> None:
    beginning = built.to_markdown().split("\n## ")[0]
    assert "90% interval" in beginning
    assert "| `good` | adam        | 64           | 2        | default    | 100.00%" in beginning


def test_a_difference_is_called_noise_unless_the_test_says_otherwise(built: report.Report) -> None:
    assert "| 0.062     | better " in built.to_markdown()
    strict = replace(built, confidence=0.95)
    assert "| 0.062     | within noise |" in strict.to_markdown()


def test_without_replicates_the_page_says_how_to_make_them(built: report.Report) -> None:
    assert (
        "There are no replicates of these runs. Make them: `python -m pipelines.replicate run=…`" in built.to_markdown()
    )


@pytest.fixture
def with_seeds(built: report.Report) -> report.Report:
    seeds = {"good": pd.Series([0.99, 0.98, 0.985], [1, 2, 3]), "bad": pd.Series([0.5, 0.51, 0.49], [1, 2, 3])}
    return replace(built, seeds=seeds, seeds_tests=comparison.seeds_tests(seeds, 0.9))


def test_the_page_compares_the_runs_over_their_seeds(with_seeds: report.Report) -> None:
    page = with_seeds.to_markdown()
    assert "| `good` | 3       | 98.50% | 0.50%" in page
    assert "| paired t | 0.00025   | better     |" in page


def test_two_runs_are_compared_in_words(built: report.Report, with_seeds: report.Report) -> None:
    told = report.of_two(built.tests[0], {"good": 1.0, "bad": 0.5}, 0.9)
    assert told.splitlines()[0] == "On 10 test images: good 100.00%, bad 50.00%"
    assert told.splitlines()[-1] == "  good is better than bad on these images."
    told = report.of_two(with_seeds.seeds_tests[0], {"good": 0.985, "bad": 0.5}, 0.9)
    assert told.splitlines()[0] == "Over the seeds: good 98.50%, bad 50.00%"
    assert "3 and 3 seeds; paired t test: p = 0.00025" in told
    assert told.splitlines()[-1] == "  good is better than bad."


def test_the_page_says_which_run_a_published_log_is(built: report.Report) -> None:
    assert "whether the label holds. Closest: `good`, losses within a factor of 1.00," in built.to_markdown()


def test_every_quantity_is_shown_by_epoch_for_runs_and_published_logs(built: report.Report) -> None:
    page = built.to_markdown()
    for title in ("Validation accuracy", "Training accuracy", "Validation loss", "Training loss"):
        assert f"### {title}\n\n|   epoch |   good |    bad |   published bad |" in page
