"""Evaluate a run, and draw it."""

import json

import numpy as np
import yaml

from mnist_cnn import configuration, dataset, paths, schema
from pipelines.command import command, heavy_imports


@command("evaluate", schema.Evaluate)
def main(config: schema.Evaluate) -> None:
    configuration.check_documented(config.run, configuration.load_table(paths.PARAMS))
    files = paths.documented_run(config.run)
    test = dataset.load(paths.PREPARED_DATA, "test")

    with heavy_imports():
        import pandas as pd

        from mnist_cnn import evaluation, plots, training

    trained = yaml.safe_load(files.configuration.read_text())["training"]
    training.make_reproducible(config.seed, trained["threads"])
    result = evaluation.evaluate(evaluation.load_model(files.model), trained["loss"], test, config.batch_size)
    history = pd.read_csv(files.history, index_col="epoch")
    title = f"{config.run}: {result.accuracy:.2%} of {len(test.labels):,} test images right"
    figures = {
        "loss": plots.loss_curves(history, config.run),
        "accuracy": plots.accuracy_curves(history, config.run),
        "predictions": plots.predictions(test, result.probabilities, config.seed),
        "confusion_matrix": plots.confusion_matrix(test.labels, result.probabilities.argmax(axis=1), title),
        "mistakes": plots.mistakes(test, result.probabilities),
    }

    with paths.replacing(files.metrics) as path:
        path.write_text(json.dumps(result.metrics(), indent=2) + "\n")
    with paths.replacing(files.predictions) as path:
        np.savez(path, probabilities=result.probabilities, labels=test.labels)
    for name, figure in figures.items():
        with paths.replacing(files.plot(name)) as path:
            figure.savefig(path)
    print(f"{title}, loss {result.loss:.4f}")


if __name__ == "__main__":
    main()
