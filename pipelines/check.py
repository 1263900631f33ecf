"""Check the configuration of every documented run."""

from mnist_cnn import configuration, paths, schema
from pipelines.command import command


@command("check", schema.Check)
def main(_config: schema.Check) -> None:
    configuration.check(paths.PARAMS, paths.CONF)


if __name__ == "__main__":
    main()
