"""Time each layer of a run's model, one after the other: python -m benchmarks.layers adadelta_128.

Prints the seconds that a gradient step spends in each layer, forward and backward.
"""

import json
import statistics
import sys
import time

from image_classifier.config.compose import compose_run, load_params

REPETITIONS, WARM_UP = 30, 3


def main() -> None:
    run = sys.argv[1]
    config = compose_run(run, load_params().runs[run])

    import keras
    import tensorflow as tf

    from image_classifier.determinism import set_seed_and_threads
    from image_classifier.train.model import build_model

    def seconds(layer: keras.Layer, inputs: tf.Tensor, first: bool) -> float:
        def gradients(inputs: tf.Tensor) -> list[tf.Tensor]:
            variables = [variable.value for variable in layer.trainable_variables]
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                outputs = layer(inputs, training=True)
            sources = variables if first else [inputs, *variables]  # training needs no gradient of the images
            found = tape.gradient(outputs, sources, output_gradients=tf.ones_like(outputs))
            return [tf.reshape(gradient, [-1])[0] for gradient in found]  # computes all gradients and copies none

        step, taken = tf.function(gradients), []
        for _ in range(WARM_UP + REPETITIONS):
            began = time.perf_counter()
            for element in step(inputs):
                element.numpy()
            taken.append(time.perf_counter() - began)
        return statistics.median(taken[WARM_UP:])

    set_seed_and_threads(config.training.seed, config.training.intra_op_threads)
    shape, classes = config.data.image_shape, len(config.data.classes)
    model = build_model(config.model.name, config.model.layers, shape, classes, config.training.precision)
    inputs = tf.random.uniform((config.batch_size, *shape))
    taken = {}
    for layer in model.layers:
        taken[layer.name] = seconds(layer, inputs, layer is model.layers[0])
        inputs = layer(inputs, training=True)
    print(json.dumps(taken))


if __name__ == "__main__":
    main()
