"""The record of a sweep in MLflow, with stubs of Ray and of the training."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow.entities import Run
from ray import tune

from image_classifier import paths
from image_classifier.config.schema import Sweep, Train
from image_classifier.errors import InputError
from image_classifier.files import acquire_lock, write_json
from image_classifier.provenance.fingerprint import TrainingInput
from image_classifier.sweep import execution
from image_classifier.sweep.engine import ACCURACY, EPOCH, NODE, REASON, STATE, TrialSearcher
from image_classifier.sweep.execution import Description, Summary, execute_plan
from image_classifier.sweep.plan import Plan, Results, Trial
from image_classifier.track.outcome import Outcome
from image_classifier.track.store import Store
from image_classifier.track.sweeps import SweepRun

FAILED = {EPOCH: 2, ACCURACY: float("nan"), NODE: "", STATE: "failed", REASON: "diverged"}
PRUNED = {EPOCH: 1, ACCURACY: 0.5, NODE: ""}
Report = dict[str, Any]


@contextmanager
def two_slots(_settings: Sweep, _uri: str) -> Iterator[int]:
    yield 2


@pytest.fixture
def store(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store in a folder of its own, which also has the outputs, checkpoints and locks of trials."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    write_json(paths.dataset_report("mnist"), {"train": {"examples": 60}, "test": {"examples": 10}})
    monkeypatch.setattr(paths, "SWEEP_LOCK", tmp_path / "sweep.lock")
    monkeypatch.setattr(execution, "cluster", two_slots)
    monkeypatch.setattr(tune, "with_parameters", lambda train, **_: train)
    monkeypatch.setattr(execution, "workspace_revision", lambda _files: None)
    return Store("mnist")


def stub_ray(reports: dict[str, Report]) -> Callable[..., None]:
    """Return a stub of `run_trials` that ends trials with a report; trials without one keep running."""

    def run_trials(_train: object, searcher: TrialSearcher, *_: object) -> None:
        while isinstance(job := searcher.suggest(f"id_{len(searcher.running)}"), dict):
            if job["name"] in reports:
                (trial_id,) = (key for key, trial in searcher.running.items() if trial.name == job["name"])
                searcher.on_trial_complete(trial_id, reports[job["name"]])
        if searcher.error:
            raise searcher.error

    return run_trials


def execute(config: Train, store: Store, names: str, problem: str = "", **settings: Any) -> Results:
    """Execute a plan with a trial of two epochs for each name, and return the trials with their outcomes."""
    trials = [
        Trial(
            number,
            {"batch_size": str(number)},
            config.model_copy(update={"run": name, "epochs": 2}),
            TrainingInput(name, "python -m pipelines.train", config_yaml(config), {"data/prepared/mnist": name}),
        )
        for number, name in enumerate(names)
    ]
    plan = Plan("0123456789", {"data/prepared/mnist": "4567"}, lambda _: iter([trials]), len(trials), max_epochs=2)
    summarized: Results = []

    def summarize(results: Results) -> Summary:
        summarized.extend(results)
        return Summary("the summary", {}, None, problem)

    changed = config.sweep.model_copy(update=settings)
    description = Description("sweep_0123456789", "the command", "Sweep 0123456789", {"search": "grid"})
    execute_plan(plan, changed, store, description, 100, summarize)
    return summarized


def config_yaml(config: Train) -> str:
    return yaml.safe_dump({**config.fingerprint_config(), "library_defaults": []}, sort_keys=False)


def runs(store: Store) -> dict[str, Run]:
    return {run.info.run_name: run for run in store.client.search_runs([store.experiment_id])}


def test_a_dry_run_prints_the_plan_and_records_nothing(
    trial_config: Train, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(trial_config, store, "ab", dry_run=True) == []
    assert capsys.readouterr().out.startswith("Sweep 0123456789\n0 are recorded already")
    assert runs(store) == {}


def test_outcomes_are_recorded_below_the_run_of_the_sweep_and_count_in_the_next_attempt(
    trial_config: Train, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(execution, "run_trials", stub_ray({"a": FAILED, "b": PRUNED}))
    for _ in range(2):
        execute(trial_config, store, "ab")
    recorded = runs(store)
    assert {name: run.info.status for name, run in recorded.items()} == {
        "sweep_0123456789": "FINISHED",
        "a": "FAILED",
        "b": "KILLED",
    }
    parent = recorded["sweep_0123456789"]
    assert parent.data.metrics == {
        "trials": 2,
        "complete": 0,
        "pruned": 1,
        "failed": 1,
        "reused": 0,
        "trial_epochs": 1,
    }
    assert "the summary" in parent.data.tags["mlflow.note.content"]
    printed = capsys.readouterr().out
    assert "2 are recorded already and are not run again, 0 are to be run." in printed
    assert (
        f"MLflow run {runs(store)['sweep_0123456789'].info.run_id} (sweep_0123456789) holds the trials and plots"
        in printed
    )


def test_an_interrupted_sweep_marks_its_running_trials_and_ends_the_command(
    trial_config: Train, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(execution, "run_trials", stub_ray({"a": PRUNED}))
    with pytest.raises(SystemExit) as ended:
        execute(trial_config, store, "ab")
    assert ended.value.code == 130
    assert "Interrupted. The same command resumes." in capsys.readouterr().err
    recorded = runs(store)
    assert {name: run.info.status for name, run in recorded.items()} == dict.fromkeys(recorded, "KILLED")
    assert recorded["b"].data.tags["trial.reason"] == "interrupted"


def test_too_many_failures_end_the_sweep(trial_config: Train, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "run_trials", stub_ray(dict.fromkeys("abcde", FAILED)))
    with pytest.raises(InputError, match=r"^2 trials failed, more than sweep\.max_failures=1\.$"):
        execute(trial_config, store, "abcde", max_failures=1)
    assert {name: run.info.status for name, run in runs(store).items()} == {
        "sweep_0123456789": "FAILED",
        "a": "FAILED",
        "b": "FAILED",
    }


def test_a_problem_of_the_results_ends_the_command_after_they_are_recorded(
    trial_config: Train, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "run_trials", stub_ray({"a": FAILED}))
    with pytest.raises(InputError, match=r"^No trial is complete\.$"):
        execute(trial_config, store, "a", problem="No trial is complete.")
    parent = runs(store)["sweep_0123456789"]
    assert (parent.info.status, parent.data.metrics["failed"]) == ("FAILED", 1)


def test_a_second_sweep_in_the_same_folder_is_refused(
    trial_config: Train, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "run_trials", stub_ray({}))
    lock = acquire_lock(paths.SWEEP_LOCK, "")
    with pytest.raises(InputError, match=r"^Another sweep runs in this folder\."):
        execute(trial_config, store, "a")
    lock.release()


def test_a_trial_that_was_trained_while_mlflow_was_down_is_recorded_and_its_files_are_removed(
    trial_config: Train, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = paths.adhoc_run("a").model
    model.parent.mkdir(parents=True)
    model.touch()
    outcome, recorded = Outcome("complete", {2: 0.9}), list[str]()
    monkeypatch.setattr(execution, "read_result", lambda name: name)
    monkeypatch.setattr(execution, "record_result", lambda _store, result: recorded.append(result))
    monkeypatch.setattr(SweepRun, "find_outcome", lambda *_: outcome if recorded else None)
    monkeypatch.setattr(execution, "run_trials", stub_ray({}))
    assert [found for _, found in execute(trial_config, store, "a")] == [outcome]
    assert recorded == ["a"]
    assert not model.parent.exists()


def test_a_complete_trial_that_mlflow_lacks_is_named(
    trial_config: Train, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(execution, "run_trials", stub_ray({"a": {**PRUNED, STATE: "complete", REASON: ""}}))
    with pytest.raises(InputError, match=r"^MLflow lacks complete trials: a\. The same command trains them again\.$"):
        execute(trial_config, store, "a")
    assert "Warning: a is not in MLflow." in capsys.readouterr().err
    assert runs(store)["sweep_0123456789"].info.status == "FAILED"


def test_a_trial_that_cannot_be_recorded_ends_the_sweep_and_keeps_its_files(
    trial_config: Train, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise InputError("MLflow: database is locked.")

    model = paths.adhoc_run("a").model
    model.parent.mkdir(parents=True)
    model.touch()
    monkeypatch.setattr(execution, "read_result", lambda name: name)
    monkeypatch.setattr(execution, "record_result", refuse)
    monkeypatch.setattr(execution, "run_trials", stub_ray({}))
    with pytest.raises(InputError, match=r"^MLflow: database is locked\.$"):
        execute(trial_config, store, "a")
    assert model.exists()
