"""Fetch the raw images of a data set."""

from image_classifier import paths
from image_classifier.config.lookup import find_source
from image_classifier.config.schema import Fetch
from image_classifier.entrypoint import entrypoint
from image_classifier.fetch.sources import fetch
from image_classifier.files import atomic_folder


@entrypoint("fetch", Fetch)
def main(config: Fetch) -> str:
    source = find_source(config.data.name)
    with atomic_folder(paths.raw_data(config.data.name)) as folder:
        images = fetch(config.data, source, folder)
    return f"{config.data.name} has {images:,} images"


if __name__ == "__main__":
    main()
