"""Settings of TensorFlow that decide the bits of a result."""

import keras
import tensorflow as tf


def set_seed_and_threads(seed: int, threads: int) -> None:
    """Seed weights, shuffling and dropout, and fix the order in which an operation adds floats.

    Call it once in a process, before the first TensorFlow operation.

    Args:
        seed: 0 to 2**32 - 1.
        threads: Number of threads within one operation. Another number gives other bits.

    Raises:
        RuntimeError: TensorFlow has already started with another number of threads.
    """
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    keras.utils.set_random_seed(seed)
