"""Replicates: pipeline runs trained with several seeds."""

from image_classifier import environment, paths
from image_classifier.config.compose import compose, load_compare_config, load_data, load_params, resolve
from image_classifier.config.lookup import check_is_row, check_prepared_data, select_runs
from image_classifier.config.schema import Row, Train
from image_classifier.dataset import load_examples
from image_classifier.errors import InputError
from image_classifier.files import atomic_write, write_figure
from image_classifier.provenance.fingerprint import training_files, workspace_recipe
from image_classifier.sweep import bind_to_localhost
from image_classifier.sweep.plan import Results, compose_trial, plan_points
from image_classifier.sweep.space import Point, Space


def replicate_runs(
    runs: list[str], *, seeds: int, cpus_per_trial: int, address: str | None, dry_run: bool, command: str
) -> None:
    """Train pipeline runs with the seeds 1 to `seeds`, and write reports/replicates.csv and the files beside it.

    Args:
        runs: Names of rows of params.yaml that are trained on the same data set.
        seeds: Number of seeds for each run, at least 2. Recorded replicates are not trained again.
        cpus_per_trial: Number of CPUs and threads of each training.
        address: Address of a Ray cluster, host:port or auto; None starts Ray on this machine.
        dry_run: Whether only the plan is printed.
        command: Command line that repeats the call.

    Raises:
        FileNotFoundError: The prepared data set is missing.
        InputError: A value is invalid, the prepared data set is stale, the tracking store or the cluster cannot be
            reached, or a training failed.
    """
    rows = load_params().runs
    runs = list(dict.fromkeys(runs))  # without repetitions
    for run in runs:
        check_is_row(run, rows)
    datasets = sorted({rows[run].data for run in runs})
    if len(datasets) > 1:
        raise InputError(f"{', '.join(runs)} are trained on {' and '.join(datasets)}. Name runs of one data set.")
    data = datasets[0]
    options = {"cpus_per_trial": cpus_per_trial, "address": address or "null", "dry_run": dry_run}
    overrides = ["run=replicates", "sweep=grid", *(f"sweep.{key}={value}" for key, value in options.items())]
    settings = resolve(Train, compose("train", overrides)).sweep
    config = load_compare_config()
    check_prepared_data(load_data(data))
    num_images = len(load_examples(paths.prepared_data(data), "train"))
    test = load_examples(paths.prepared_data(data), "test")
    if not address:
        bind_to_localhost()
    with environment.gc_paused():
        from image_classifier.sweep import report
        from image_classifier.sweep.execution import Description, Summary, execute_plan
        from image_classifier.sweep.replicate_tables import Replicate, add_recorded, summarize_replicates
        from image_classifier.track.store import Store

    files = training_files(data)
    space = Space(("validation=test", f"training.intra_op_threads={cpus_per_trial}"), {})
    first = {run: compose_trial(space, files, 0, _point(row, seed=1)) for run, row in select_runs(rows, data).items()}
    recipes = {run: workspace_recipe(trial.input.config, files) for run, trial in first.items()}
    pairs = [(run, seed) for seed in range(1, seeds + 1) for run in runs]
    identity = [runs, [first[run].input.fingerprint for run in runs]]  # without the number of seeds
    plan = plan_points(space, [_point(rows[run], seed) for run, seed in pairs], identity, files)
    store = Store(data)

    def summarize(results: Results) -> Summary:
        replicates = [
            Replicate(run, recipes[run], seed, *result) for (run, seed), result in zip(pairs, results, strict=True)
        ]
        tables, missing = add_recorded(store, replicates, test, cpus_per_trial, config.batch_size)
        for file, table in tables.items():
            with atomic_write(file) as path:
                table.to_csv(path, index=False)
        summary, figure = summarize_replicates(tables[paths.REPLICATES], recipes, runs, config.confidence)
        write_figure(paths.REPLICATES_PLOT, figure)
        problem = f"Not recorded: {'; '.join(missing)}. The same command tries again." if missing else ""
        written = ", ".join(str(path.relative_to(paths.ROOT)) for path in (*tables, paths.REPLICATES_PLOT))
        text = (
            f"Replicates {plan.fingerprint}: {report.format_counts(results)}\n\n"
            f"{summary}\n\n"
            f"The accuracies are those on the test images after the last epoch. Files: {written}.\n"
            "Update the comparison of the runs with the new seeds: dvc repro"
        )
        return Summary(text, {"replicates": figure}, None, problem)

    names = ", ".join(runs)
    title = f"Replicates {plan.fingerprint}: {names}, {seeds} seeds each."
    name = f"replicates of {names}"[:250]  # MLflow's limit
    description = Description(name, command, title, {"replicates": names})
    execute_plan(plan, settings, store, description, num_images, summarize)


def _point(row: Row, seed: int) -> Point:
    return {**{key: str(value) for key, value in row.model_dump().items()}, "training.seed": str(seed)}
