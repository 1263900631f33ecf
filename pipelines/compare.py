"""Compare the documented runs with each other and with the published logs, or any two runs."""

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from mnist_cnn import configuration, dataset, paths, results, schema
from mnist_cnn.errors import InputError
from mnist_cnn.schema import Row
from pipelines.command import command, heavy_imports


@command("compare", schema.Compare)
def main(config: schema.Compare) -> None:
    table = configuration.load_table(paths.PARAMS)
    if config.a and config.b:
        _compare_two(config.a, config.b, config, table)
    elif config.a or config.b:
        raise InputError(f"a={config.a}, b={config.b}: give both, or none to compare all documented runs.")
    else:
        _compare_documented(config, table)


def _compare_documented(config: schema.Compare, table: dict[str, Row]) -> None:
    with heavy_imports():
        import pandas as pd

        from mnist_cnn import plots, replicates, report

    for leftover in paths.runs_beside(table):
        print(f"Warning: {leftover} is not a row of params.yaml any more. Remove it: rm -r {leftover}")
    files = {run: paths.documented_run(run) for run in table}
    histories = {run: pd.read_csv(file.history, index_col="epoch") for run, file in files.items()}
    losses = {run: json.loads(file.metrics.read_text())["test_loss"] for run, file in files.items()}
    predictions = {run: dataset.read_arrays(file.predictions) for run, file in files.items()}
    published = {
        log: history.set_index("epoch")
        for log, history in pd.read_csv(paths.PUBLISHED_HISTORY).groupby("run", sort=False)
    }
    seeds = replicates.of_runs(replicates.read(paths.REPLICATES), results.recipes(table))

    result = report.build(
        table, histories, predictions, losses, published, config.confidence, config.largest_shift, seeds
    )
    figure = plots.comparison(histories, published, replicates.bands(seeds, config.confidence), config.confidence)

    with paths.replacing(paths.COMPARISON) as path:
        path.write_text(json.dumps(result.to_dict(), indent=2) + "\n")
    with paths.replacing(paths.COMPARISON_TEXT) as path:
        path.write_text(result.to_markdown())
    with paths.replacing(paths.COMPARISON_PLOT) as path:
        figure.savefig(path)


def _compare_two(first: str, second: str, config: schema.Compare, table: dict[str, Row]) -> None:
    for run in (first, second):
        if run not in table and not paths.adhoc_run(run).model.exists() and not re.fullmatch(schema.RUN_ID, run):
            rows = ", ".join(table)
            raise InputError(f"{run} is no row of params.yaml ({rows}), no folder of outputs/, no id of an MLflow run.")
    test = dataset.load(paths.PREPARED_DATA, "test")
    with heavy_imports():
        from mnist_cnn import comparison, replicates, report

    probabilities, recipe = {}, {}
    for run in (first, second):
        probabilities[run], recipe[run] = _read(run, test, config, table)
    if np.array_equal(probabilities[first], probabilities[second]):
        print(f"{first} and {second} are identical: the same probabilities for all {len(test.labels):,} test images.")
        return
    correct = {run: of_run.argmax(axis=1) == test.labels for run, of_run in probabilities.items()}
    (paired,) = comparison.paired_tests(correct, config.confidence)
    accuracies = {run: float(right.mean()) for run, right in correct.items()}
    print(report.of_two(paired, accuracies, config.confidence))

    seeds = replicates.of_runs(replicates.read(paths.REPLICATES), recipe)
    if len(seeds) < 2:
        return
    last = {run: replicates.last(of_run) for run, of_run in seeds.items()}
    if recipe[first] == recipe[second]:
        two = comparison.two_seeds(first, second, paired.difference, last[first], config.confidence)
        print(report.of_two(two, accuracies, config.confidence))
    else:
        (over_seeds,) = comparison.seeds_tests(last, config.confidence)
        print(report.of_two(over_seeds, {run: float(of.mean()) for run, of in last.items()}, config.confidence))


def _read(run: str, test: dataset.Examples, config: schema.Compare, table: dict[str, Row]) -> tuple[np.ndarray, str]:
    """Find what a run predicts, stored or by its model, and its recipe."""
    if run in table:
        result = results.read(run)
        stored = dataset.read_arrays(result.files.predictions)
        if not np.array_equal(stored["labels"], test.labels):
            raise InputError(f"{result.files.predictions} is of other test images than data/prepared/. Type: dvc repro")
        return stored["probabilities"], result.input.recipe

    from mnist_cnn import evaluation

    if paths.adhoc_run(run).model.exists():
        result = results.read(run)
        network, recipe = evaluation.load_model(result.files.model), result.input.recipe
    else:
        from mnist_cnn.tracking import recorded
        from mnist_cnn.tracking.store import Store

        store = Store(config.tracking.experiment)
        record = recorded.read(store, run)
        with TemporaryDirectory() as folder:
            network = evaluation.load_model(recorded.download(store, run, "model.h5", Path(folder)))
        recipe = results.recipe(record.configuration, record.files)
    predicted: np.ndarray = network.predict(test.images, batch_size=config.batch_size, verbose=0)
    return predicted, recipe


if __name__ == "__main__":
    main()
