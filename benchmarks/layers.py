"""Time each layer of a run's model, one after the other: python -m benchmarks.layers adadelta_128.

Prints the seconds that a gradient step spends in each layer, forward and backward.
"""

import json
import statistics
import sys
import time

from mnist_cnn import configuration, paths

REPETITIONS, WARM_UP = 30, 3


def main() -> None:
    run = sys.argv[1]
    config = configuration.compose_run(run, configuration.load_table(paths.PARAMS)[run], paths.CONF)

    import keras
    import tensorflow as tf

    from mnist_cnn import model, training

    def seconds(layer: keras.Layer, inputs: tf.Tensor, first: bool) -> float:
        def gradients(inputs: tf.Tensor) -> list[tf.Tensor]:
            variables = [variable.value for variable in layer.trainable_variables]
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                outputs = layer(inputs, training=True)
            sources = variables if first else [inputs, *variables]  # nothing is learned from an image's gradient
            found = tape.gradient(outputs, sources, output_gradients=tf.ones_like(outputs))
            return [tf.reshape(gradient, [-1])[0] for gradient in found]  # all are computed, and none is copied

        step, taken = tf.function(gradients), []
        for _ in range(WARM_UP + REPETITIONS):
            began = time.perf_counter()
            for element in step(inputs):
                element.numpy()
            taken.append(time.perf_counter() - began)
        return statistics.median(taken[WARM_UP:])

    training.make_reproducible(config.training.seed, config.training.threads)
    network = model.build(**config.model.model_dump(), precision=config.training.precision)
    inputs = tf.random.uniform((config.batch_size, *model.INPUT_SHAPE))
    taken = {}
    for layer in network.layers:
        taken[layer.name] = seconds(layer, inputs, layer is network.layers[0])
        inputs = layer(inputs, training=True)
    print(json.dumps(taken))


if __name__ == "__main__":
    main()
