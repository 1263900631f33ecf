"""Sample images of every class."""

import numpy as np
from matplotlib.figure import Figure

from image_classifier.dataset import CLASSES

ROWS = 6


def plot_samples(images: np.ndarray, labels: np.ndarray, seed: int) -> Figure:
    """Draw six random images of each class, a column per class.

    Args:
        images: (n, 28, 28, 1), any range.
        labels: (n,), 0 to 9, each at least once. Images of a class with fewer than six are repeated.
        seed: Choice of the images.
    """
    generator = np.random.default_rng(seed)
    columns = []
    for label in range(CLASSES):
        candidates = np.flatnonzero(labels == label)
        chosen = generator.choice(candidates, ROWS, replace=len(candidates) < ROWS)
        columns.append(np.pad(images[chosen, :, :, 0], ((0, 0), (2, 2), (2, 2))).reshape(-1, 32))
    figure = Figure(figsize=(8, 5.2), layout="constrained")
    axes = figure.subplots()
    axes.imshow(np.hstack(columns), cmap="gray")
    axes.set_xticks(32 * np.arange(CLASSES) + 15.5, [str(label) for label in range(CLASSES)])
    axes.tick_params(length=0)
    axes.set_yticks([])
    axes.set(title="Six random training images of each class", xlabel="Class")
    return figure
