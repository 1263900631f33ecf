"""Check the configuration of every documented run."""

from mnist_cnn import configuration, paths
from pipelines.command import command


@command("check", configuration.Check)
def main(_config: configuration.Check) -> None:
    for run, row in configuration.load_table(paths.PARAMS).items():
        configuration.compose_run(run, row, paths.CONF)


if __name__ == "__main__":
    main()
