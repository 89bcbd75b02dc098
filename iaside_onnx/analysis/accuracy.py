"""Accuracy, and the warning that it is at chance level: most likely inputs are prepared wrongly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = ["accuracy", "chance_warning"]

_SIGNIFICANCE = 0.05


def accuracy(predicted: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    """Share of whole images that the model gets right, in [0, 1]."""
    return float((predicted == labels).mean())


def chance_warning(
    predicted: NDArray[np.int64], labels: NDArray[np.int64], classes: int
) -> str | None:
    """A warning if the accuracy is at chance level, else None.

    Two one-sided binomial tests at 5 %: guessing among the classes is not rejected, and an accuracy
    of one half is. With a handful of images neither is rejected, and there is no warning.
    """
    n, right = labels.size, int((predicted == labels).sum())
    # For X ~ Binomial(n, p), P(X >= k) is a regularised incomplete beta function.
    p_chance = 1.0 if right == 0 else float(special.betainc(right, n - right + 1, 1 / classes))
    p_half = float(special.betainc(n - right, right + 1, 0.5)) if right < n else 1.0
    if p_chance <= _SIGNIFICANCE or p_half > _SIGNIFICANCE:
        return None
    return (
        f"accuracy on whole images is at chance level: {right} of {n} right among {classes} "
        "classes; likely causes are the normalisation (mean, std, value range: `preprocess=`), the "
        "colour order (RGB or BGR), or the class order (`classes=`)"
    )
