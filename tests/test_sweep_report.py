import pandas as pd
import pytest

from mnist_cnn import paths
from mnist_cnn.configuration import compose, resolve
from mnist_cnn.results import TrainingInput
from mnist_cnn.schema import Train
from mnist_cnn.sweep import report
from mnist_cnn.sweep.trials import Outcome, Trial

OUTCOMES = {
    0: Outcome("complete", {1: 0.5, 2: 0.95}),
    1: Outcome("pruned", {1: 0.99}, "others were better"),
    2: Outcome("complete", {1: 0.6, 2: 0.97}, origin="elsewhere"),
    3: Outcome("failed", {}, "diverged"),
    4: Outcome("complete", {1: 0.7, 2: 0.97}),
}


@pytest.fixture
def trials() -> list[Trial]:
    config = resolve(Train, compose("train", ["run=trial"], paths.CONF))
    values = [("sgd", "0.1"), ("sgd", "0.0123456789"), ("adam", "0.001"), ("adam", "10.0"), ("sgd", "0.2")]
    return [
        Trial(
            number,
            {"optimizer": optimizer, "optimizer.config.learning_rate": rate},
            config,
            TrainingInput("", "", "", {}),
        )
        for number, (optimizer, rate) in enumerate(values)
    ]


def test_the_best_trial_is_complete_and_the_first_of_equals(trials: list[Trial]) -> None:
    best = report.best_of(trials, OUTCOMES)
    assert best
    assert best.number == 2


def test_no_trial_is_the_best_where_none_is_complete(trials: list[Trial]) -> None:
    assert report.best_of(trials, {1: OUTCOMES[1]}) is None


def test_the_table_has_the_complete_trials_first_with_short_keys(trials: list[Trial]) -> None:
    table = report.table(trials, OUTCOMES)
    assert table["trial"].tolist() == [2, 4, 0, 1, 3]
    assert table.columns[:3].tolist() == ["trial", "optimizer", "learning_rate"]
    assert table["learning_rate"].tolist()[3] == "0.012346"
    assert table["state"].tolist() == ["complete, reused", "complete", "complete", "pruned", "failed"]


def test_a_trial_without_an_outcome_is_not_finished(trials: list[Trial]) -> None:
    assert report.table(trials[:1], {})["state"].tolist() == ["not finished"]


def test_the_summary_names_the_winner_its_noise_and_the_next_command(trials: list[Trial]) -> None:
    summary = report.summary(trials, OUTCOMES, "0123456789", images=10_000)
    assert "Best: trial 2 with 97.00% of 10,000 held-out images." in summary
    assert "(0.48%): 1 of the others" in summary  # 2 * sqrt(2 * 0.97 * 0.03 / 10,000)
    assert "python -m pipelines.adopt sweep=0123456789 name=best" in summary
    assert "failed: diverged" in summary


def test_the_metrics_count_every_state(trials: list[Trial]) -> None:
    assert report.metrics(trials, OUTCOMES) == {
        "trials": 5,
        "complete": 3,
        "pruned": 1,
        "failed": 1,
        "reused": 1,
        "trial_epochs": 7,
        "best_val_accuracy": 0.97,
    }


def test_complete_trials_are_drawn(trials: list[Trial]) -> None:
    assert set(report.figures(trials, OUTCOMES)) == {"parallel_coordinates", "importance"}


def test_one_complete_trial_is_not_drawn(trials: list[Trial]) -> None:
    assert report.figures(trials, {0: OUTCOMES[0]}) == {}


def test_equal_accuracies_have_no_importance(trials: list[Trial]) -> None:
    assert set(report.figures(trials, {2: OUTCOMES[2], 4: OUTCOMES[4]})) == {"parallel_coordinates"}


def test_keys_with_the_same_last_part_stay_whole() -> None:
    assert report.short({"a.rate": "1", "b.rate": "2"}) == {"a.rate": "1", "b.rate": "2"}


def test_a_table_of_no_trials_is_empty() -> None:
    assert isinstance(report.table([], {}), pd.DataFrame)
