"""Compare the documented runs with each other and with the published logs."""

import json

from mnist_cnn import configuration, dataset, paths, schema
from pipelines.command import command, heavy_imports


@command("compare", schema.Compare)
def main(config: schema.Compare) -> None:
    with heavy_imports():
        import pandas as pd

        from mnist_cnn import plots, report

    table = configuration.load_table(paths.PARAMS)
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

    result = report.build(table, histories, predictions, losses, published, config.confidence, config.largest_shift)
    figure = plots.comparison(histories, published)

    with paths.replacing(paths.COMPARISON) as path:
        path.write_text(json.dumps(result.to_dict(), indent=2) + "\n")
    with paths.replacing(paths.COMPARISON_TEXT) as path:
        path.write_text(result.to_markdown())
    with paths.replacing(paths.COMPARISON_PLOT) as path:
        figure.savefig(path)


if __name__ == "__main__":
    main()
