"""Record a finished run in MLflow."""

from mnist_cnn import configuration, paths
from pipelines.command import command, heavy_imports


@command("track", configuration.Track)
def main(config: configuration.Track) -> None:
    configuration.check_documented(config.run, configuration.load_table(paths.PARAMS))
    with heavy_imports():
        from mnist_cnn import tracking

    result = tracking.read_result(config.run, paths.documented_run(config.run), paths.DVC_LOCK)
    record = tracking.record(result, config.experiment)
    print(f"Recorded {config.run} as MLflow run {record.run_id}")
    for other in record.contradicting:
        print(f"Warning: MLflow run {other} has the same input and another result: was it made on another machine?")


if __name__ == "__main__":
    main()
