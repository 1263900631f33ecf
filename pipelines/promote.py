"""Choose the model that people use."""

from mnist_cnn import configuration, paths, schema
from pipelines.command import command, heavy_imports


@command("promote", schema.Promote)
def main(config: schema.Promote) -> None:
    configuration.check_documented(config.run, configuration.load_table(paths.PARAMS))
    with heavy_imports():
        from mnist_cnn import results
        from mnist_cnn.tracking import registry
        from mnist_cnn.tracking.store import Store

    tracking = config.tracking
    result = results.read(config.run)
    promotion = registry.promote(Store(tracking.experiment), result, tracking.registered_model, tracking.alias)
    before = f", which was version {promotion.previous}" if promotion.previous else ""
    print(f"{tracking.registered_model}@{tracking.alias} is version {promotion.version} now ({config.run}){before}")


if __name__ == "__main__":
    main()
