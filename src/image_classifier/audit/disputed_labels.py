"""Test labels for which all runs of a data set agree on another class."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

DISPUTE_PROBABILITY = 0.9  # least probability that each run has for the other class


def find_disputed(labels: np.ndarray, predictions: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return the test labels for which all runs agree on another class, each with at least `DISPUTE_PROBABILITY`.

    Args:
        labels: (n,), positions of classes.
        predictions: Class probabilities of each run, (n, classes).

    Returns:
        Columns other (position of the class that all runs choose) and probability (the lowest one of the runs); index
        position. The highest probability comes first.
    """
    if not predictions:
        return pd.DataFrame({"other": [], "probability": []}, dtype=float)
    stacked = np.stack(list(predictions.values()))
    choices, lowest = stacked.argmax(axis=2), stacked.max(axis=2).min(axis=0)
    alike = (choices == choices[0]).all(axis=0) & (choices[0] != labels) & (lowest >= DISPUTE_PROBABILITY)
    positions = np.flatnonzero(alike)
    table = pd.DataFrame({"other": choices[0][positions], "probability": lowest[positions]}, positions)
    return table.sort_values("probability", ascending=False, kind="stable")
