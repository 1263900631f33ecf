"""Train one run."""

import json
import sys

import yaml

from mnist_cnn import configuration, dataset, paths
from pipelines.command import command, heavy_imports


@command("train", configuration.Train)
def main(config: configuration.Train) -> None:
    documented = configuration.documented(config, configuration.load_table(paths.PARAMS), paths.CONF)
    files = paths.documented_run(config.run) if documented else paths.new_adhoc_run(config.run)
    train_examples, test_examples = (dataset.load(paths.PREPARED_DATA, part) for part in ("train", "test"))

    with heavy_imports():
        from mnist_cnn import model, training

    training.make_reproducible(config.training.seed, config.training.threads)
    network = model.build(**config.model.model_dump())
    history = training.train(
        network,
        training.build_optimizer(**config.optimizer.model_dump()),
        config.training.loss,
        train_examples,
        test_examples,  # shown as validation at each epoch, as in the notebook; nothing is chosen by it
        batch_size=config.batch_size,
        epochs=config.epochs,
        steps_per_execution=config.training.steps_per_execution,
        validation_batch_size=config.training.validation_batch_size,
        verbose=1 if sys.stdout.isatty() else 2,
    )

    with paths.replacing(files.configuration) as path:
        path.write_text(yaml.safe_dump(config.model_dump(), sort_keys=False))
    with paths.replacing(files.history) as path:
        history.drop(columns="seconds").to_csv(path)
    with paths.replacing(files.model) as path:
        network.save(path)
    with paths.replacing(files.execution) as path:
        path.write_text(json.dumps(training.describe_execution(files.model, history["seconds"]), indent=2) + "\n")
    print(f"Wrote {files.directory.relative_to(paths.ROOT)}/")


if __name__ == "__main__":
    main()
