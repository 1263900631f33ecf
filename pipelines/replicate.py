"""Train documented runs with several seeds."""

import shlex
import sys

from mnist_cnn import configuration, dataset, paths, results, schema
from mnist_cnn.errors import InputError
from mnist_cnn.sweep import stay_on_this_machine
from mnist_cnn.sweep.space import Space
from pipelines import sweep as sweeping
from pipelines.command import command, heavy_imports


@command("replicate", schema.Replicate, {r"^run=([^\[].*)$": r"run=[\1]"})
def main(config: schema.Replicate) -> None:
    table = configuration.load_table(paths.PARAMS)
    for run in config.run:
        configuration.check_documented(run, table)
    experiment = configuration.compose_run(config.run[0], table[config.run[0]], paths.CONF).tracking.experiment
    training = dataset.load(paths.PREPARED_DATA, "train")
    if (config.sweep.search, config.sweep.stopping) != ("grid", "none"):
        raise InputError("sweep: replicates are all trained to their end, as with sweep=grid.")
    if not config.sweep.address:
        stay_on_this_machine()
    with heavy_imports():
        import pandas as pd

        from mnist_cnn import plots, replicates
        from mnist_cnn.sweep import plan, report, trials
        from mnist_cnn.sweep.trials import Trial
        from mnist_cnn.tracking import sweeps
        from mnist_cnn.tracking.store import Store

    hashes = results.training_files()

    def compose(number: int, point: dict[str, str]) -> Trial:
        return trials.compose(Space((), {}, "test"), number, point, config.sweep.cpus_per_trial, hashes)

    order = [(run, seed) for seed in range(1, config.seeds + 1) for run in config.run]
    rows = {run: {key: str(value) for key, value in table[run].model_dump().items()} for run in config.run}
    points = [{**rows[run], "training.seed": str(seed)} for run, seed in order]
    store = Store(experiment)
    with sweeping.cluster(config.sweep, store) as at_once:
        planned = plan.listed(points, compose, first=len(config.run))
        opening = f"Replicates {planned.identity}: {', '.join(config.run)}, {config.seeds} seeds each."
        sweeping.announce(store, planned, compose, config.sweep, opening, at_once, training)
        if config.sweep.dry_run:
            return
        lock = sweeping.only_sweep_here()
        typed = shlex.join(["python", "-m", "pipelines.replicate", *sys.argv[1:]])
        described = {"replicates": ", ".join(config.run)}
        parent, tried = sweeping.run(store, planned, compose, config.sweep, hashes, typed, described)

    complete = [trial for trial in tried.trials if (found := tried.outcomes.get(trial.number)) and found.complete]
    histories = [
        sweeps.history(store, trial.input)
        .reset_index()
        .assign(run=order[trial.number][0], seed=order[trial.number][1], recipe=trial.input.recipe)
        for trial in complete
    ]
    known = replicates.read(paths.REPLICATES)
    merged = replicates.merge(known, pd.concat(histories)) if histories else known
    with paths.replacing(paths.REPLICATES) as path:
        merged.to_csv(path, index=False)
    recipes = {run: trial.input.recipe for (run, _), trial in zip(order, tried.trials, strict=False)}
    mine = replicates.of_runs(merged, recipes)
    summary = replicates.summary({run: replicates.last(of_run) for run, of_run in mine.items()}, config.confidence)
    figure = plots.replicates(replicates.bands(mine, config.confidence), config.confidence)
    parent.finish(
        report.metrics(tried.trials, tried.outcomes),
        f"{summary}\n\nThe same again, or the rest of it:\n\n```\n{typed}\n```",
        report.table(tried.trials, tried.outcomes).to_csv(index=False),
        {"replicates": figure},
    )
    figure.savefig(paths.REPLICATES_PLOT)
    print(summary)
    sweeping.check_ended(parent, tried, config.sweep)
    parent.end()
    lock.release()


if __name__ == "__main__":
    main()
