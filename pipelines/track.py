"""Record a finished run in MLflow."""

from mnist_cnn import configuration, paths, schema
from pipelines.command import command, heavy_imports


@command("track", schema.Track)
def main(config: schema.Track) -> None:
    if not paths.adhoc_run(config.run).model.exists():
        configuration.check_documented(config.run, configuration.load_table(paths.PARAMS))
    with heavy_imports():
        from mnist_cnn import results
        from mnist_cnn.tracking.record import record
        from mnist_cnn.tracking.store import Store

    result = results.read(config.run)
    written = record(Store(config.tracking.experiment), result)
    if result.documented:
        with paths.replacing(paths.recorded(config.run)) as path:
            path.write_text(f"{result.identity}\n")
    print(f"Recorded {config.run} as MLflow run {written.run_id}")
    for other in written.contradicting:
        print(
            f"WARNING: not reproducible. MLflow runs {other} and {written.run_id} had the same configuration, data and "
            "code, and gave different results. Compare their environment tags in the MLflow UI."
        )


if __name__ == "__main__":
    main()
