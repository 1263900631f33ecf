"""Check the configuration of every documented run."""

from mnist_cnn import configuration, paths, schema
from pipelines.command import command


@command("check", schema.Check)
def main(_config: schema.Check) -> None:
    table = configuration.load_table(paths.PARAMS)
    configuration.check_commands(next(iter(table)), paths.CONF)
    for run, row in table.items():
        configuration.compose_run(run, row, paths.CONF)


if __name__ == "__main__":
    main()
