"""Validate the raw images of a data set, and write the arrays that training reads."""

from image_classifier import environment, paths
from image_classifier.config.schema import Prepare
from image_classifier.dataset import load_examples
from image_classifier.entrypoint import entrypoint
from image_classifier.files import atomic_folder, write_figure, write_json
from image_classifier.prepare.examples import describe_dataset, prepare_examples


@entrypoint("prepare", Prepare)
def main(config: Prepare) -> str:
    with environment.gc_paused():
        from image_classifier.prepare.samples import plot_samples

    name = config.data.name
    with atomic_folder(paths.prepared_data(name)) as folder:
        prepare_examples(config.data, paths.raw_data(name), folder)
        training, test = (load_examples(folder, part) for part in ("train", "test"))
        write_json(paths.dataset_report(name), describe_dataset(config.data, training, test))
        write_figure(paths.samples(name), plot_samples(training, config.seed))
    return f"{name} has {len(training):,} training and {len(test):,} test images"


if __name__ == "__main__":
    main()
