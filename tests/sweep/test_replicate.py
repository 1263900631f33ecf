import pytest

from image_classifier.config.schema import Row, Table
from image_classifier.errors import InputError
from image_classifier.sweep import replicate


def test_runs_of_several_data_sets_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Row(data="mnist", model="cnn", optimizer="sgd", batch_size=32, epochs=1, training="default")
    table = {"a": row, "b": row.model_copy(update={"data": "pets"})}
    params = Table.model_construct(runs=table)
    monkeypatch.setattr(replicate, "load_params", lambda: params)
    message = r"^a, b are trained on mnist and pets\. Name runs of one data set\.$"
    with pytest.raises(InputError, match=message):
        replicate.replicate_runs(["a", "b"], seeds=2, cpus_per_trial=1, address=None, dry_run=True, command="")
