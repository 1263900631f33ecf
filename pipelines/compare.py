"""Compare the pipeline runs with each other and with the published logs."""

from image_classifier import environment, paths
from image_classifier.config.compose import load_table
from image_classifier.config.schema import Compare
from image_classifier.entrypoint import entrypoint
from image_classifier.files import atomic_write, write_figure, write_json
from image_classifier.provenance.fingerprint import workspace_recipes


@entrypoint("compare", Compare)
def main(config: Compare) -> str:
    with environment.gc_paused():
        from image_classifier.compare.report import compare_runs, format_report

    table = load_table()
    for leftover in paths.leftover_runs(table):
        print(f"Warning: {leftover} is not a row of params.yaml. Remove it: rm -r {leftover}")
    report, figure = compare_runs(table, workspace_recipes(table), config.confidence, config.max_epoch_lag)
    write_json(paths.COMPARISON, report)
    with atomic_write(paths.COMPARISON_TEXT) as path:
        path.write_text(format_report(report), encoding="utf-8")
    write_figure(paths.COMPARISON_PLOT, figure)
    return f"{len(table)} runs"


if __name__ == "__main__":
    main()
