"""Fetch the raw images."""

import numpy as np

from image_classifier import paths
from image_classifier.config.schema import Fetch
from image_classifier.entrypoint import entrypoint
from image_classifier.fetch.sources import fetch_mnist
from image_classifier.files import atomic_write


@entrypoint("fetch", Fetch)
def main(config: Fetch) -> str:
    arrays = fetch_mnist(config.data.sources, config.data.sha256.model_dump())
    with atomic_write(paths.RAW_DATA) as path:
        np.savez(path, allow_pickle=False, **arrays)
    return f"{len(arrays['train_images']):,} training and {len(arrays['test_images']):,} test images"


if __name__ == "__main__":
    main()
