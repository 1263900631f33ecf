"""Compare the pipeline runs of a data set with each other and with the published logs."""

from image_classifier import environment, paths
from image_classifier.config.compose import load_params
from image_classifier.config.lookup import select_runs
from image_classifier.config.schema import Compare
from image_classifier.entrypoint import entrypoint
from image_classifier.files import write_figure, write_json, write_text
from image_classifier.provenance.fingerprint import workspace_recipes


@entrypoint("compare", Compare)
def main(config: Compare) -> str:
    with environment.gc_paused():
        from image_classifier.compare.report import compare_runs, format_report

    table = load_params().runs
    for leftover in paths.leftover_runs((row.data, run) for run, row in table.items()):
        print(f"Warning: {leftover} is not a row of params.yaml. Remove it: rm -r {leftover}")
    data = config.data.name
    runs = select_runs(table, data)
    recipes = workspace_recipes(data, runs)
    report, figure = compare_runs(runs, recipes, config)
    write_json(paths.comparison(data, "json"), report)
    write_text(paths.comparison(data, "md"), format_report(report))
    write_figure(paths.comparison(data, "png"), figure)
    return f"{len(runs)} run{'s' * (len(runs) > 1)} on {data}"


if __name__ == "__main__":
    main()
