"""The tables of the replicates in reports/, and their summary."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from image_classifier import paths
from image_classifier.compare import environments, predictions, seeds
from image_classifier.compare.plots import plot_curves
from image_classifier.dataset import Examples
from image_classifier.errors import InputError
from image_classifier.provenance.result import RecordedRun
from image_classifier.sweep.plan import Trial
from image_classifier.track.outcome import Outcome
from image_classifier.track.reader import predict_recorded
from image_classifier.track.store import Store
from image_classifier.track.sweeps import name_and_read_replicate


class Replicate(NamedTuple):
    """A training of a run with a seed: name and recipe fingerprint of the run, seed, trial and its outcome."""

    run: str
    recipe: str | None
    seed: int
    trial: Trial
    outcome: Outcome


def add_recorded(
    store: Store, replicates: Iterable[Replicate], test: Examples, threads: int, batch_size: int
) -> tuple[dict[Path, pd.DataFrame], list[str]]:
    """Add the replicates that MLflow holds to the tables in reports/, without writing the tables.

    The model of a replicate predicts the test images if the table of predictions does not have it. A warning names a
    replicate whose model is lost.

    Args:
        store: Store of the replicates.
        replicates: Replicates to add.
        test: Test images.
        threads: Number of threads of the trainings.
        batch_size: Images per forward step; decides speed and memory.

    Returns:
        The new table of each file, in the order in which they are to be written, and a note on each replicate that
        MLflow does not hold.

    Raises:
        FileNotFoundError: A table does not exist.
        InputError: A table is damaged, or MLflow cannot be reached.
    """
    histories = [seeds.read_replicates(paths.REPLICATES)]
    described = [environments.read_environments(paths.REPLICATES_ENVIRONMENTS)]
    predicted = [predictions.read_mistakes(paths.REPLICATES_PREDICTIONS)]
    known = set(predicted[0][seeds.KEY].itertuples(index=False, name=None))
    missing = []
    for run, recipe, seed, trial, outcome in replicates:
        name = f"{run} seed {seed}"
        record = name_and_read_replicate(store, trial.input, name)
        if record is None:
            missing.append(f"{run}, seed {seed}: {outcome.reason or outcome.state}")
            continue
        described.append(environments.describe_environment(record.environment, threads))
        key = (run, recipe, described[-1].index[0], seed)
        columns = dict(zip(seeds.KEY, key, strict=True))
        histories.append(record.history.reset_index().assign(**columns))
        if key not in known and (mistakes := _predict(store, record, name, test, batch_size)) is not None:
            predicted.append(pd.DataFrame([{**columns, "images": len(test), "mistakes": mistakes}]))
    merged = seeds.merge_replicates(histories)
    tables = {  # the seeds last: a killed process then leaves no seed without the facts of its environment
        paths.REPLICATES_ENVIRONMENTS: environments.merge_environments(described, merged).reset_index(),
        paths.REPLICATES_PREDICTIONS: predictions.merge_predictions(predicted, merged),
        paths.REPLICATES: merged,
    }
    return tables, missing


def _predict(store: Store, record: RecordedRun, name: str, test: Examples, batch_size: int) -> str | None:
    """Return the mistakes of a recorded model on the test images, or None if the model is lost."""
    print(f"Predicting the test images: {name}", flush=True)
    try:
        probabilities = predict_recorded(store, record, test, batch_size)
    except (FileNotFoundError, InputError) as error:
        again = f"To train it again: mlflow runs delete --run-id {record.run_id}, then the same command."
        print(f"Warning: {name} has no predictions ({str(error).rstrip('.')}). {again}", file=sys.stderr)
        return None
    return predictions.encode_mistakes(probabilities.argmax(axis=1), test.labels)


def summarize_replicates(
    histories: pd.DataFrame, recipes: Mapping[str, str | None], runs: Sequence[str], confidence: float
) -> tuple[str, Figure]:
    """Return a table of the accuracies over the seeds, and a plot of the curves of all runs that have replicates.

    Args:
        histories: Replicates of any runs, columns `seeds.COLUMNS`.
        recipes: Recipe fingerprint of each run of the data set.
        runs: Runs in the table.
        confidence: Level of the intervals, 0 to 1, exclusive.
    """
    selected = seeds.select_replicates(histories, recipes)
    selection = seeds.describe_selection(histories, recipes, selected)
    bands = seeds.prediction_intervals(selected, confidence)
    means = {run: band["mean"] for run, band in bands.items()}
    figure = plot_curves(means, bands, {}, confidence, "means of the seeds")
    chosen = {run: selection[run] for run in runs if run in selection}
    accuracies = {run: seeds.final_accuracies(selected[run]) for run in chosen if run in selected}
    described = environments.format_selected(chosen, paths.REPLICATES_ENVIRONMENTS)
    return seeds.format_summary(accuracies, confidence, chosen, described), figure
