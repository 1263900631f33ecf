"""Validate the raw images, and write what training reads."""

import json

import numpy as np

from mnist_cnn import data, dataset, paths, schema
from pipelines.command import command, heavy_imports


@command("prepare", schema.Prepare)
def main(config: schema.Prepare) -> None:
    with heavy_imports():
        from mnist_cnn import plots

    raw = dataset.read_arrays(paths.RAW_DATA)
    data.verify(raw, config.data.sha256.model_dump(), origin=str(paths.RAW_DATA))
    prepared = data.prepare(raw, config.data.train_examples, config.data.test_examples)
    samples = plots.samples(prepared["train_images"], prepared["train_labels"], config.seed)

    with paths.replacing(paths.PREPARED_DATA) as path:
        np.savez(path, allow_pickle=False, **prepared)
    with paths.replacing(paths.DATASET_REPORT) as path:
        path.write_text(json.dumps(data.describe(prepared), indent=2) + "\n")
    with paths.replacing(paths.SAMPLES) as path:
        samples.savefig(path)


if __name__ == "__main__":
    main()
