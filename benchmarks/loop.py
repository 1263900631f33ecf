"""Train `adadelta_128` without the pipeline, and print the seconds of an epoch: python -m benchmarks.loop keras.

The first argument is one of these loops. All use as many threads as the pipeline.

    keras                     `fit` receives the arrays, as in the notebook; all other settings are Keras' defaults.
    keras_without_tuner       The same, without the thread of tf.data that tunes the input while the model trains.
    pytorch                   The same model and protocol in eager PyTorch, which must be installed.
    pytorch_channels_last     The same, with the memory layout that suits the convolutions of this library.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from image_classifier import paths
from image_classifier.config.compose import compose, load_params, resolve
from image_classifier.config.schema import Train
from image_classifier.dataset import load_examples, scale_pixels

REFERENCE = "adadelta_128"
LEARNING_RATE = 1.0
WARM_UP_STEPS = 20  # in which Keras also builds its graph; after them, an epoch takes as long as any other


def keras_epoch(batch_size: int, threads: int, *, tuner: bool) -> float:
    """Train one epoch with Keras; its seconds with its validation."""
    import keras
    import tensorflow as tf
    from keras import layers
    from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter

    if not tuner:
        make_dataset = ArrayDataAdapter.get_tf_dataset

        def make_dataset_without_tuner(adapter: ArrayDataAdapter) -> Any:
            options = tf.data.Options()
            options.autotune.enabled = False
            return make_dataset(adapter).with_options(options)

        ArrayDataAdapter.get_tf_dataset = make_dataset_without_tuner  # fit has no argument for it
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
    model.compile(keras.optimizers.Adadelta(LEARNING_RATE), "categorical_crossentropy", metrics=["accuracy"])
    images, test_images = (scale_pixels(part.images) for part in (training, test))
    labels, test_labels = (keras.utils.to_categorical(part.labels) for part in (training, test))
    few = WARM_UP_STEPS * batch_size
    model.fit(images[:few], labels[:few], batch_size, validation_data=(test_images[:few], test_labels[:few]))
    began = time.perf_counter()
    model.fit(images, labels, batch_size, validation_data=(test_images, test_labels))
    return time.perf_counter() - began


def pytorch_epoch(batch_size: int, threads: int, *, channels_last: bool) -> float:
    """Train one epoch with PyTorch; its seconds with its validation."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    training, test = (load_examples(paths.prepared_data("mnist"), part) for part in ("train", "test"))
    images, test_images = (
        torch.from_numpy(scale_pixels(part.images)).permute(0, 3, 1, 2).contiguous(memory_format=layout)
        for part in (training, test)
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
    ).to(memory_format=layout)
    optimizer = torch.optim.Adadelta(model.parameters(), lr=LEARNING_RATE)
    loss = nn.CrossEntropyLoss()

    def train(batches: Any) -> None:
        model.train()
        for batch in batches:
            optimizer.zero_grad()
            loss(model(images[batch]), labels[batch]).backward()
            optimizer.step()

    train(torch.randperm(len(labels)).split(batch_size)[:WARM_UP_STEPS])
    began = time.perf_counter()
    train(torch.randperm(len(labels)).split(batch_size))
    model.eval()
    with torch.no_grad():
        right = sum(
            int((model(some).argmax(1) == expected).sum())
            for some, expected in zip(test_images.split(1000), test_labels.split(1000), strict=True)
        )
    taken = time.perf_counter() - began
    print(f"test accuracy {right / len(test_labels):.4f}")
    return taken


LOOPS: dict[str, Callable[[int, int], float]] = {
    "keras": partial(keras_epoch, tuner=True),
    "keras_without_tuner": partial(keras_epoch, tuner=False),
    "pytorch": partial(pytorch_epoch, channels_last=False),
    "pytorch_channels_last": partial(pytorch_epoch, channels_last=True),
}


def main() -> None:
    threads = resolve(Train, compose("train", [])).training.intra_op_threads
    print(json.dumps(LOOPS[sys.argv[1]](load_params().runs[REFERENCE].batch_size, threads)))


if __name__ == "__main__":
    main()
