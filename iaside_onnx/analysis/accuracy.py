"""The sanity gate: a model that answers at random was most likely fed wrongly."""

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
    """What to say if the answers are no better than guessing among the classes, else None.

    Two one-sided binomial tests at 5 %: guessing gets at least as many right with more than that
    probability, and a model that is right half of the time so few with less; a handful of images
    says nothing.
    """
    n, right = labels.size, int((predicted == labels).sum())
    # For X ~ Binomial(n, p), P(X >= k) is a regularised incomplete beta function.
    by_luck = 1.0 if right == 0 else float(special.betainc(right, n - right + 1, 1 / classes))
    if_good = float(special.betainc(n - right, right + 1, 0.5)) if right < n else 1.0
    if by_luck <= _SIGNIFICANCE or if_good > _SIGNIFICANCE:
        return None
    return (
        f"accuracy on whole images is at chance level: {right} of {n} right among {classes} "
        "classes; likely causes are the normalisation (mean, std, value range: --preprocess), the "
        "colour order (RGB or BGR), or the class order (--classes)"
    )
