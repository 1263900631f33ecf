"""Train one run, or with -m run a sweep."""

import shlex
import sys
from functools import partial

from image_classifier import paths
from image_classifier.config.compose import is_pipeline_run, load_params
from image_classifier.config.lookup import check_prepared_data
from image_classifier.config.schema import Train
from image_classifier.entrypoint import entrypoint
from image_classifier.track.process import TrackingProcess
from image_classifier.train.runner import train_run


@entrypoint("train", Train)
def main(config: Train) -> str:
    in_pipeline = is_pipeline_run(config, load_params().runs)
    name = config.run
    files = paths.pipeline_run(config.data.name, name) if in_pipeline else paths.new_adhoc_run(name)
    check_prepared_data(config.data)
    train_run(
        config,
        shlex.join(["python", "-m", "pipelines.train", *sys.argv[1:]]),
        files,
        partial(TrackingProcess, records_result=not in_pipeline),
        verbose=1 if sys.stdout.isatty() else 2,
    )
    return f"{files.directory.relative_to(paths.ROOT)}/ after {config.epochs} epochs"


if __name__ == "__main__":
    main()
