"""Validate the raw images, and write the arrays that training reads."""

import numpy as np

from image_classifier import environment, paths
from image_classifier.config.schema import Prepare
from image_classifier.dataset import read_arrays
from image_classifier.entrypoint import entrypoint
from image_classifier.fetch.sources import verify_digests
from image_classifier.files import atomic_write, write_figure, write_json
from image_classifier.prepare.examples import describe_dataset, select_examples


@entrypoint("prepare", Prepare)
def main(config: Prepare) -> str:
    with environment.gc_paused():
        from image_classifier.prepare.samples import plot_samples

    raw = read_arrays(paths.RAW_DATA)
    verify_digests(raw, config.data.sha256.model_dump(), origin=str(paths.RAW_DATA))
    prepared = select_examples(raw, config.data.train_examples, config.data.test_examples)
    samples = plot_samples(prepared["train_images"], prepared["train_labels"], config.seed)

    with atomic_write(paths.PREPARED_DATA) as path:
        np.savez(path, allow_pickle=False, **prepared)
    write_json(paths.DATASET_REPORT, describe_dataset(prepared))
    write_figure(paths.SAMPLES, samples)
    return f"{len(prepared['train_images']):,} training and {len(prepared['test_images']):,} test images"


if __name__ == "__main__":
    main()
