"""Draw the models of params.yaml."""

from image_classifier import environment, paths
from image_classifier.config.compose import compose_run, load_params
from image_classifier.config.schema import Diagram
from image_classifier.entrypoint import entrypoint
from image_classifier.files import atomic_folder


@entrypoint("diagram", Diagram)
def main(_: Diagram) -> str:
    configurations = [compose_run(run, row) for run, row in load_params().runs.items()]
    with environment.tensorflow_import():
        from image_classifier.diagram.drawing import draw_models

    with atomic_folder(paths.MODELS) as folder:
        drawn = draw_models(configurations, folder)
    return ", ".join(drawn)


if __name__ == "__main__":
    main()
