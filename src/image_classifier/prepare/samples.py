"""Sample images of every class."""

import numpy as np
from matplotlib.figure import Figure

from image_classifier.dataset import Examples

ROWS = 6
MAX_CLASSES = 30  # in one figure
MARGIN = 2  # pixels between two images


def plot_samples(examples: Examples, seed: int) -> Figure:
    """Draw six random images of each class, a column per class, for at most `MAX_CLASSES` classes.

    Args:
        examples: Images, at least one of each class. Images of a class with fewer than six are repeated.
        seed: Choice of the images.
    """
    generator = np.random.default_rng(seed)
    names = examples.classes[:MAX_CLASSES]
    columns = []
    for label in range(len(names)):
        candidates = np.flatnonzero(examples.labels == label)
        chosen = generator.choice(candidates, ROWS, replace=len(candidates) < ROWS)
        padded = np.pad(examples.images[chosen], ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)))
        columns.append(np.concatenate(padded))
    width = columns[0].shape[1]
    figure = Figure(figsize=(max(5, 0.8 * len(names)), 5.2), layout="constrained")
    axes = figure.subplots()
    axes.imshow(np.hstack(columns).squeeze(), cmap="gray")
    axes.set_xticks(width * (np.arange(len(names)) + 0.5) - 0.5, names, rotation=90 if max(map(len, names)) > 6 else 0)
    axes.tick_params(length=0)
    axes.set_yticks([])
    number = "" if names == examples.classes else f" (the first {len(names)} of {len(examples.classes)})"
    axes.set(title=f"Six random training images of each class{number}", xlabel="Class")
    return figure
