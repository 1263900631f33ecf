"""Draw the model."""

from image_classifier import environment, paths
from image_classifier.config.schema import Diagram
from image_classifier.entrypoint import entrypoint
from image_classifier.files import atomic_write


@entrypoint("diagram", Diagram)
def main(config: Diagram) -> str:
    with environment.tensorflow_import():
        from image_classifier.diagram.drawing import draw_model, model_summary
        from image_classifier.train.model import build_model

    model = build_model(config.model.name, config.model.layers)
    for file in paths.MODEL_DIAGRAMS:
        with atomic_write(file) as path:
            path.write_bytes(draw_model(model, file.suffix.removeprefix(".")))
    with atomic_write(paths.MODEL_SUMMARY) as path:
        path.write_text(model_summary(model), encoding="utf-8")
    return f"{config.model.name} with {model.count_params():,} parameters"


if __name__ == "__main__":
    main()
