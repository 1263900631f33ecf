"""Record a finished run in MLflow."""

from image_classifier import environment, paths
from image_classifier.config.compose import check_is_row, load_table
from image_classifier.config.schema import Track
from image_classifier.entrypoint import entrypoint


@entrypoint("track", Track)
def main(config: Track) -> str:
    if not paths.adhoc_run(config.run).model.exists():
        check_is_row(config.run, load_table())
    with environment.gc_paused():
        from image_classifier.track.writer import track_run

    return f"{config.run} is MLflow run {track_run(config.run, config.tracking.experiment)}"


if __name__ == "__main__":
    main()
