"""Fetch the raw images."""

import numpy as np

from mnist_cnn import data, paths, schema
from pipelines.command import command


@command("fetch", schema.Fetch)
def main(config: schema.Fetch) -> None:
    arrays = data.fetch(config.data.sources, config.data.sha256.model_dump())
    with paths.replacing(paths.RAW_DATA) as path:
        np.savez(path, allow_pickle=False, **arrays)


if __name__ == "__main__":
    main()
