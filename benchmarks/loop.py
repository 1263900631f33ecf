"""Train without the pipeline, and print the seconds of each epoch: python -m benchmarks.loop keras adadelta 128 2.

`keras` trains as the notebook does: `fit` receives the arrays, and all other settings are Keras' defaults. `pytorch` is
the same model and protocol in eager PyTorch, which must be installed. Both use as many threads as the pipeline.
"""

import itertools
import json
import sys
import time
from collections.abc import Callable

from image_classifier import paths
from image_classifier.config.compose import compose, resolve
from image_classifier.config.schema import Train
from image_classifier.dataset import load_examples, scale_pixels

RATES = {"sgd": 0.01, "adadelta": 1.0}


def keras_epochs(optimizer: str, batch_size: int, epochs: int, threads: int) -> list[float]:
    """Train with Keras; seconds of each epoch with its validation."""
    import keras
    import tensorflow as tf
    from keras import layers

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    training, test = (load_examples(paths.prepared_data("mnist"), part) for part in ("train", "test"))
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.25),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )
    chosen = {"sgd": keras.optimizers.SGD, "adadelta": keras.optimizers.Adadelta}[optimizer]
    model.compile(chosen(RATES[optimizer]), "categorical_crossentropy", metrics=["accuracy"])
    stamps = [time.perf_counter()]
    model.fit(
        scale_pixels(training.images),
        keras.utils.to_categorical(training.labels),
        batch_size=batch_size,
        epochs=epochs,
        validation_data=(scale_pixels(test.images), keras.utils.to_categorical(test.labels)),
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: stamps.append(time.perf_counter()))],
    )
    return [end - begin for begin, end in itertools.pairwise(stamps)]


def pytorch_epochs(optimizer: str, batch_size: int, epochs: int, threads: int) -> list[float]:
    """Train with PyTorch; seconds of each epoch with its validation."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    training, test = (load_examples(paths.prepared_data("mnist"), part) for part in ("train", "test"))
    images, test_images = (
        torch.from_numpy(scale_pixels(part.images)).permute(0, 3, 1, 2).contiguous() for part in (training, test)
    )
    labels, test_labels = (torch.from_numpy(part.labels).long() for part in (training, test))
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(9216, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 10),
    )
    chosen = {"sgd": torch.optim.SGD, "adadelta": torch.optim.Adadelta}[optimizer]
    updater = chosen(model.parameters(), lr=RATES[optimizer])
    loss = nn.CrossEntropyLoss()
    taken = []
    for _ in range(epochs):
        began = time.perf_counter()
        model.train()
        for batch in torch.randperm(len(labels)).split(batch_size):
            updater.zero_grad()
            loss(model(images[batch]), labels[batch]).backward()
            updater.step()
        model.eval()
        with torch.no_grad():
            right = sum(
                int((model(some).argmax(1) == expected).sum())
                for some, expected in zip(test_images.split(1000), test_labels.split(1000), strict=True)
            )
        taken.append(time.perf_counter() - began)
        print(f"test accuracy {right / len(test_labels):.4f}")
    return taken


def main() -> None:
    library, optimizer, batch_size, epochs = sys.argv[1:]
    loops: dict[str, Callable[[str, int, int, int], list[float]]] = {"keras": keras_epochs, "pytorch": pytorch_epochs}
    threads = resolve(Train, compose("train", [])).training.intra_op_threads
    print(json.dumps(loops[library](optimizer, int(batch_size), int(epochs), threads)))


if __name__ == "__main__":
    main()
