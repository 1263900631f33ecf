"""Measure the rate of matrix multiplication, and print it in GFLOP/s: python -m benchmarks.machine."""

import json
import time

SIZE, REPETITIONS = 2048, 15


def main() -> None:
    import tensorflow as tf

    from image_classifier.config.compose import compose, resolve
    from image_classifier.config.schema import Train

    threads = resolve(Train, compose("train", [])).training.intra_op_threads
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    multiply = tf.function(tf.linalg.matmul)
    rates: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    for repetition in range(REPETITIONS):
        for dtype, measured in rates.items():
            matrix = tf.cast(tf.random.uniform((SIZE, SIZE)), dtype)
            began = time.perf_counter()
            multiply(matrix, matrix).numpy()
            if repetition > 1:  # the first two repetitions trace and warm up
                measured.append(2 * SIZE**3 / (time.perf_counter() - began) / 1e9)
    print(json.dumps(rates))


if __name__ == "__main__":
    main()
