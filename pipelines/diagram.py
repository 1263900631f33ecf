"""Draw the model."""

from mnist_cnn import paths, schema
from pipelines.command import command, heavy_imports


@command("diagram", schema.Diagram)
def main(config: schema.Diagram) -> None:
    with heavy_imports():
        from mnist_cnn import diagram, model

    network = model.build(**config.model.model_dump())
    for file in paths.MODEL_DIAGRAMS:
        with paths.replacing(file) as path:
            path.write_bytes(diagram.draw(network, file.suffix.removeprefix(".")))
    with paths.replacing(paths.MODEL_SUMMARY) as path:
        path.write_text(model.summary(network))


if __name__ == "__main__":
    main()
