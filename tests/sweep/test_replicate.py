from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from image_classifier import paths
from image_classifier.compare import predictions, seeds
from image_classifier.compare.environments import read_environments
from image_classifier.config.schema import Params, Row
from image_classifier.dataset import Examples
from image_classifier.errors import InputError
from image_classifier.sweep import execution, replicate, replicate_tables
from image_classifier.sweep.plan import Plan
from image_classifier.track import store
from image_classifier.track.outcome import Outcome

LABELS = np.array([0, 1, 2], np.uint8)
FILES = {"data/prepared/mnist": "0123.dir"}


def test_runs_of_several_data_sets_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Row(data="mnist", model="cnn", optimizer="sgd", batch_size=32, epochs=1, training="default")
    table = {"a": row, "b": row.model_copy(update={"data": "pets"})}
    params = Params.model_construct(runs=table)
    monkeypatch.setattr(replicate, "load_params", lambda: params)
    message = r"^a, b are trained on mnist and pets\. Name runs of one data set\.$"
    with pytest.raises(InputError, match=message):
        replicate.replicate_runs(["a", "b"], seeds=2, cpus_per_trial=1, address=None, dry_run=True, command="")


class Recorded:
    """Stands for MLflow, which holds two seeds of sgd_32.

    Attributes:
        predicted: Ids of the runs whose models have predicted.
        lost: Ids of the runs whose models are lost.
    """

    def __init__(self) -> None:
        self.predicted: list[str] = []
        self.lost: set[str] = set()

    def read(self, _store: object, _training: object, name: str) -> Any:
        value = 0.5 + int(name[-1]) / 100
        columns = dict.fromkeys(("loss", "accuracy", "val_loss", "val_accuracy"), value)
        history = pd.DataFrame(columns, pd.RangeIndex(1, 3, name="epoch"))
        return SimpleNamespace(run_id=name, history=history, environment={"processor": "a processor"})

    def predict(self, _store: object, record: Any, _test: object, _batch_size: int) -> np.ndarray:
        if record.run_id in self.lost:
            raise FileNotFoundError("model.h5")
        self.predicted.append(record.run_id)
        return np.eye(10)[[0, 1, 7]]


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Recorded:
    """MLflow with all seeds, and a project folder whose files of replicates are empty."""
    mlflow = Recorded()
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    columns = {
        "REPLICATES": seeds.COLUMNS,
        "REPLICATES_PREDICTIONS": predictions.COLUMNS,
        "REPLICATES_ENVIRONMENTS": ["environment", *read_environments(paths.REPLICATES_ENVIRONMENTS).columns],
    }
    for name, titles in columns.items():
        monkeypatch.setattr(paths, name, tmp_path / f"{name}.csv")
        pd.DataFrame(columns=titles).to_csv(tmp_path / f"{name}.csv", index=False)
    monkeypatch.setattr(paths, "REPLICATES_PLOT", tmp_path / "replicates.png")
    examples = Examples(np.zeros((3, 28, 28, 1), np.uint8), LABELS, tuple("0123456789"))
    monkeypatch.setattr(replicate, "load_examples", lambda _folder, _part: examples)
    monkeypatch.setattr(replicate, "check_prepared_data", lambda _config: None)
    monkeypatch.setattr(replicate, "training_files", lambda _data: FILES)
    monkeypatch.setattr(store, "Store", lambda _data: None)
    monkeypatch.setattr(replicate_tables, "name_and_read_replicate", mlflow.read)
    monkeypatch.setattr(replicate_tables, "predict_recorded", mlflow.predict)
    return mlflow


def replicate_sgd(monkeypatch: pytest.MonkeyPatch, num_seeds: int = 2, threads: int = 1) -> str:
    """Replicate sgd_32, of which all seeds are recorded, and return the summary."""
    texts: list[str] = []

    def execute(plan: Plan, *arguments: Any) -> None:
        (trials,) = plan.batches({})
        texts.append(arguments[-1]([(trial, Outcome("complete")) for trial in trials]).text)

    monkeypatch.setattr(execution, "execute_plan", execute)
    replicate.replicate_runs(
        ["sgd_32"], seeds=num_seeds, cpus_per_trial=threads, address=None, dry_run=False, command=""
    )
    return texts[0]


def test_seeds_are_written_with_their_environment_and_predictions(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = replicate_sgd(monkeypatch)
    histories = seeds.read_replicates(paths.REPLICATES)
    (name,) = histories["environment"].unique()
    assert read_environments(paths.REPLICATES_ENVIRONMENTS).loc[name, "processor"] == "a processor"
    assert f"- `{name}`: a processor, family unknown " in text
    assert recorded.predicted == ["sgd_32 seed 1", "sgd_32 seed 2"]
    assert predictions.read_mistakes(paths.REPLICATES_PREDICTIONS)["mistakes"].tolist() == ["2:7", "2:7"]


def test_a_repeated_command_predicts_only_what_is_missing(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    replicate_sgd(monkeypatch)
    before = paths.REPLICATES_PREDICTIONS.read_text()
    recorded.predicted.clear()
    replicate_sgd(monkeypatch, num_seeds=3)
    assert recorded.predicted == ["sgd_32 seed 3"]
    assert paths.REPLICATES_PREDICTIONS.read_text().startswith(before)


def test_seeds_with_another_number_of_threads_are_not_pooled(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    replicate_sgd(monkeypatch)
    text = replicate_sgd(monkeypatch, num_seeds=3, threads=2)
    assert len(recorded.predicted) == 5
    assert "| `sgd_32` | 3       |" in text
    assert "Seeds of different environments are not pooled. Left out: 2 of `sgd_32` in " in text


def test_a_seed_whose_model_is_lost_is_kept_without_predictions(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded.lost = {"sgd_32 seed 1"}
    replicate_sgd(monkeypatch)
    assert seeds.read_replicates(paths.REPLICATES)["seed"].unique().tolist() == [1, 2]
    assert predictions.read_mistakes(paths.REPLICATES_PREDICTIONS)["seed"].tolist() == [2]
    assert "Warning: sgd_32 seed 1 has no predictions (model.h5). To train it again: mlflow" in capsys.readouterr().err
