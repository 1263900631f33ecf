"""Record a finished run in MLflow."""

from image_classifier import environment
from image_classifier.config.compose import load_params
from image_classifier.config.lookup import find_run_files
from image_classifier.config.schema import Track
from image_classifier.entrypoint import entrypoint


@entrypoint("track", Track)
def main(config: Track) -> str:
    find_run_files(config.run, load_params().runs)
    with environment.gc_paused():  # also for the modules that MLflow imports for its store
        from image_classifier.track.writer import track_run

        return f"{config.run} is MLflow run {track_run(config.run)}"


if __name__ == "__main__":
    main()
