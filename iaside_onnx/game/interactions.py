"""The Shapley interaction index of pairs of bands, from a full table of worths."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.game.shapley import arrival_weights, band_count, band_gains

__all__ = ["shapley_interactions"]


def shapley_interactions(worth: NDArray[np.floating]) -> NDArray[np.float64]:
    """Interaction of each pair of bands, ``(..., bands, bands)`` in nats, from all worths.

    ``I_ij = sum over S without i and j of |S|! (M - |S| - 2)! / (M - 1)!
    (v(S + i + j) - v(S + i) - v(S + j) + v(S))``, summed in float64 (Grabisch and Roubens, An
    axiomatic approach to the concept of interaction among players in cooperative games,
    International Journal of Game Theory 28, 1999, doi:10.1007/s001820050125). It is how much more
    band i contributes where band j is there than where it is not. Negative: the bands overlap, and
    are worth less together than apart. Positive: they need each other.

    The matrix is symmetric. Its diagonal is 0: the index is of pairs. Main effects belong to other
    indices, and are not the Shapley values.

    Args:
        worth: the worth of every coalition, ``(..., 2**bands)`` in nats, in the order of
            `all_coalitions`. A NaN anywhere makes all interactions of its image NaN.

    Raises:
        OptionError: if the last axis is not 2**M long for an M from 2 to 16.
    """
    bands = band_count(worth)
    weights = arrival_weights(bands - 1)
    values = np.asarray(worth, dtype=np.float64)
    found = np.zeros((*worth.shape[:-1], bands, bands))
    for i in range(1, bands):
        # The gains of band i are a game of the others, in which those below keep their bits. The
        # interaction with band j is the Shapley value of band j in that game.
        gains = band_gains(values, i)
        for j in range(i):
            pair = (band_gains(gains, j) * weights).sum(axis=-1)
            found[..., i, j] = found[..., j, i] = pair
    return found
