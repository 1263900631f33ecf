import pytest

from image_classifier.config.schema import Train
from image_classifier.provenance.fingerprint import TrainingInput
from image_classifier.sweep import report
from image_classifier.sweep.plan import Plan, Results, Trial
from image_classifier.track.outcome import Outcome

VALUES = [("sgd", "0.1"), ("sgd", "0.0123456789"), ("adam", "0.001"), ("adam", "10.0"), ("sgd", "0.2"), ("sgd", "0.3")]
OUTCOMES = [
    Outcome("complete", {1: 0.5, 2: 0.95}),
    Outcome("pruned", {1: 0.99}, "stopped by the scheduler"),
    Outcome("complete", {1: 0.6, 2: 0.97}, origin="elsewhere"),
    Outcome("failed", {}, "diverged"),
    Outcome("complete", {1: 0.7, 2: 0.97}),
    Outcome("unfinished"),
]


@pytest.fixture
def results(trial_config: Train) -> Results:
    points = [{"optimizer": optimizer, "optimizer.learning_rate": rate} for optimizer, rate in VALUES]
    trials = [Trial(number, point, trial_config, TrainingInput("", "", "", {})) for number, point in enumerate(points)]
    return list(zip(trials, OUTCOMES, strict=True))


def test_the_best_trial_is_complete_and_the_first_of_equal_ones(results: Results) -> None:
    assert [trial.number for trial, _ in report.complete_trials(results)] == [2, 4, 0]


def test_the_table_has_the_complete_trials_first_with_numbers_as_numbers(results: Results) -> None:
    table = report.trials_table(results)
    assert table["trial"].tolist() == [2, 4, 0, 1, 3, 5]
    assert table["optimizer.learning_rate"].tolist()[3] == 0.0123456789
    assert table["state"].tolist() == ["complete", "complete", "complete", "pruned", "failed", "unfinished"]
    assert table["origin"].tolist()[:2] == ["elsewhere", "now"]


def test_a_sweep_without_trials_has_an_empty_table_and_no_plots() -> None:
    assert report.trials_table([]).empty
    assert report.plot_trials([]) == {}


def test_the_summary_names_the_winner_its_noise_and_the_next_command(results: Results) -> None:
    summary = report.format_summary(results, "0123456789", num_images=10_000)
    assert summary.startswith("Sweep 0123456789: 3 complete, 1 pruned, 1 failed, 1 unfinished\n")
    assert "Best: trial 2 with 97.00% of 10,000 held-out images." in summary
    assert "Other trials within the noise of the images (0.48%): 1." in summary  # 2 sqrt(2 * 0.97 * 0.03 / 10,000)
    assert "image-classifier add-run 0123456789 best" in summary
    assert "0.012346" in summary
    assert "diverged" in summary


def test_a_summary_without_a_complete_trial_has_no_winner(results: Results) -> None:
    assert "Best" not in report.format_summary(results[3:4], "0123456789", num_images=10_000)


def test_the_metrics_count_every_state(results: Results) -> None:
    assert report.summary_metrics(results) == {
        "trials": 5,
        "complete": 3,
        "pruned": 1,
        "failed": 1,
        "reused": 1,
        "trial_epochs": 7,
        "best_val_accuracy": 0.97,
    }


def test_the_line_of_a_trial_has_its_values_state_and_reason(results: Results) -> None:
    lines = [report.format_outcome(*result) for result in results[1:4]]
    assert lines == [
        "Trial 1 optimizer=sgd optimizer.learning_rate=0.0123456789: pruned, 99.00% after epoch 1 "
        "(stopped by the scheduler)",
        "Trial 2 optimizer=adam optimizer.learning_rate=0.001: complete, 97.00% after epoch 2",
        "Trial 3 optimizer=adam optimizer.learning_rate=10.0: failed (diverged)",
    ]


def test_complete_trials_are_drawn(results: Results) -> None:
    assert set(report.plot_trials(results)) == {"parallel_coordinates", "importance"}


def test_one_complete_trial_is_not_drawn(results: Results) -> None:
    assert report.plot_trials(results[:2]) == {}


def test_equal_accuracies_have_no_importance(results: Results) -> None:
    assert set(report.plot_trials([results[2], results[4]])) == {"parallel_coordinates"}


@pytest.mark.parametrize(
    ("search", "scheduler", "epoch_seconds", "expected"),
    [
        ("grid", "none", 50.0, "12 epochs in all, 4 trials at a time, CPUs for each: 1.\nExpected duration: 0:02:35."),
        ("tpe", "none", 50.0, "12 epochs in all, 2 trials at a time, CPUs for each: 1.\nExpected duration: 0:05:10."),
        ("grid", "asha", 50.0, "Expected duration: at most, because asha stops trials early, 0:02:35."),
        ("grid", "none", None, "Expected duration: unknown, no similar training is recorded."),
    ],
)
def test_the_plan_estimates_the_duration(
    trial_config: Train, search: str, scheduler: str, epoch_seconds: float | None, expected: str
) -> None:
    settings = trial_config.sweep.model_copy(update={"search": search, "scheduler": scheduler})
    text = report.format_plan(Plan("", {}, lambda _: iter(()), 6, 3), settings, (4, 12), 8, epoch_seconds)
    assert text.startswith("2 are recorded already and are not run again, 4 are to be run.\n")
    assert expected in text


def test_a_plan_without_new_trials_has_no_duration(trial_config: Train) -> None:
    text = report.format_plan(Plan("", {}, lambda _: iter(()), 6, 3), trial_config.sweep, (0, 0), 8, 50.0)
    assert text == "6 are recorded already and are not run again, 0 are to be run."
