"""Record a finished run in MLflow."""

from mnist_cnn import configuration, paths
from pipelines.command import command, heavy_imports


@command("track", configuration.Track)
def main(config: configuration.Track) -> None:
    with heavy_imports():
        from mnist_cnn import tracking

    result = tracking.read_result(config.run, paths.documented_run(config.run), paths.DVC_LOCK)
    url = tracking.record(result, config.experiment)
    print(f"Recorded {config.run} in MLflow: {url}")


if __name__ == "__main__":
    main()
