"""Check the configuration of every documented run."""

from mnist_cnn import configuration, paths
from pipelines.command import command


@command("check", configuration.Check)
def main(_config: configuration.Check) -> None:
    table = configuration.load_table(paths.PARAMS)
    configuration.check_commands(next(iter(table)), paths.CONF)
    for run, row in table.items():
        configuration.compose_run(run, row, paths.CONF)


if __name__ == "__main__":
    main()
