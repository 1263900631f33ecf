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
    if (config.sweep.search, config.sweep.stopping, config.sweep.final) != ("grid", "none", False):
        raise InputError("sweep: replicates are all trained to their end, as with sweep=grid.")
    images = len(dataset.read_arrays(paths.PREPARED_DATA, ["train_labels"])["train_labels"])
    if not config.sweep.address:
        stay_on_this_machine()
    with heavy_imports():
        from mnist_cnn import plots, replicates
        from mnist_cnn.sweep import plan, report, trials
        from mnist_cnn.sweep.trials import Trial
        from mnist_cnn.tracking import sweeps
        from mnist_cnn.tracking.store import Store

    known = replicates.read(paths.REPLICATES)
    hashes = results.training_files()

    def compose(number: int, point: dict[str, str]) -> Trial:
        return trials.compose(Space((), {}, "test"), number, point, config.sweep.cpus_per_trial, hashes)

    recipes = {run: compose(0, _point(table[run], 1)).input.recipe for run in table}
    order = [(run, seed) for seed in range(1, config.seeds + 1) for run in config.run]
    points = [_point(table[run], seed) for run, seed in order]
    store = Store(experiment)
    with sweeping.cluster(config.sweep, store) as at_once:
        planned = plan.listed(points, compose, config.run)
        opening = f"Replicates {planned.identity}: {', '.join(config.run)}, {config.seeds} seeds each."
        sweeping.announce(store, planned, compose, config.sweep, opening, at_once, images)
        if config.sweep.dry_run:
            return
        lock = sweeping.only_sweep_here()
        typed = shlex.join(["python", "-m", "pipelines.replicate", *sys.argv[1:]])
        described = {"replicates": ", ".join(config.run)}
        parent, tried = sweeping.run(store, planned, compose, config.sweep, hashes, typed, described)

    new, lacking = [known], []
    for trial in tried.trials:
        run, seed = order[trial.number]
        outcome, history = tried.outcomes.get(trial.number), sweeps.history(store, trial.input)
        if history is None:
            lacking.append(f"{run}, seed {seed}: {outcome.reason or outcome.state if outcome else 'not finished'}")
        else:
            new.append(history.reset_index().assign(run=run, seed=seed, recipe=trial.input.recipe))
    merged = replicates.merge(new)
    with paths.replacing(paths.REPLICATES) as path:
        merged.to_csv(path, index=False)
    current = replicates.of_runs(merged, recipes)
    mine = {run: replicates.last(current[run]) for run in config.run if run in current}
    summary = replicates.summary(mine, config.confidence)
    figure = plots.replicates(replicates.bands(current, config.confidence), config.confidence)
    parent.finish(
        report.metrics(tried.trials, tried.outcomes),
        f"{summary}\n\nThe same again, or the rest of it:\n\n```\n{typed}\n```",
        report.table(tried.trials, tried.outcomes).to_csv(index=False),
        {"replicates": figure},
    )
    with paths.replacing(paths.REPLICATES_PLOT) as path:
        figure.savefig(path)
    print(summary)
    sweeping.check_ended(parent, tried, config.sweep)
    if lacking:
        parent.end("FAILED")
        raise InputError(f"Not recorded: {'; '.join(lacking)}. The same command tries again.")
    parent.end()
    lock.release()


def _point(row: schema.Row, seed: int) -> dict[str, str]:
    return {**{key: str(value) for key, value in row.model_dump().items()}, "training.seed": str(seed)}


if __name__ == "__main__":
    main()
