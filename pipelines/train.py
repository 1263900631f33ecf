"""Train one run."""

import shlex
import sys
from dataclasses import replace

from mnist_cnn import configuration, dataset, paths, schema
from pipelines.command import command, heavy_imports
from pipelines.follow import Follower


@command("train", schema.Train)
def main(config: schema.Train) -> None:
    documented = configuration.documented(config, configuration.load_table(paths.PARAMS), paths.CONF)
    files = paths.documented_run(config.run) if documented else paths.new_adhoc_run(config.run)
    train_examples, test_examples = (dataset.load(paths.PREPARED_DATA, part) for part in ("train", "test"))

    with heavy_imports():
        from mnist_cnn import model, results, training

    training.make_reproducible(config.training.seed, config.training.threads)
    network = model.build(**config.model.model_dump())
    optimizer = training.build_optimizer(**config.optimizer.model_dump())
    complete = training.complete_configuration(config.model_dump(exclude={"tracking"}), optimizer)
    for name in complete["library_defaults"]:
        print(f"Warning: {name} is Keras' default, which another version may change. Write it down in conf/optimizer/.")

    typed = shlex.join(["python", "-m", "pipelines.train", *sys.argv[1:]])
    execution = results.begin(config.run, typed, complete, len(train_examples.labels))
    with Follower(execution, config.tracking.experiment, by_hand=not documented) as follower:
        history = training.train(
            network,
            optimizer,
            config.training.loss,
            train_examples,
            test_examples,  # shown as validation at each epoch, as in the notebook; nothing is chosen by it
            batch_size=config.batch_size,
            epochs=config.epochs,
            steps_per_execution=config.training.steps_per_execution,
            validation_batch_size=config.training.validation_batch_size,
            on_epoch=follower.epoch,
            verbose=1 if sys.stdout.isatty() else 2,
        )
        with paths.replacing(files.configuration) as path:
            path.write_text(execution.input.configuration)
        with paths.replacing(files.history) as path:
            history.drop(columns="seconds").to_csv(path)
        with paths.replacing(files.model) as path:
            network.save(path)
        replace(execution, epoch_seconds=history["seconds"].tolist()).write(files.model)
    print(f"Wrote {files.directory.relative_to(paths.ROOT)}/")


if __name__ == "__main__":
    main()
