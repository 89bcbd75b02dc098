"""The Shapley value from a full table of worths (Shapley 1953)."""

from __future__ import annotations

from math import comb

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import OptionError
from iaside_onnx.game.coalitions import check_exact_bands, coalition_size
from iaside_onnx.types import Phi

__all__ = ["arrival_weights", "band_count", "band_gains", "shapley_values"]


def shapley_values(worth: NDArray[np.floating]) -> Phi:
    """Contribution of each band, ``(..., bands)`` in nats, from ``(..., 2**bands)`` worths.

    ``phi_i = sum over S without i of |S|! (M - |S| - 1)! / M! (v(S + i) - v(S))``, summed in
    float64; the contributions of one image sum to v(all) - v(none).

    Args:
        worth: the worth of every coalition, in the order of `all_coalitions`. A NaN anywhere makes
            all contributions of its image NaN.

    Raises:
        OptionError: if the last axis is not 2**M long for an M from 2 to 16.
    """
    bands = band_count(worth)
    weights = arrival_weights(bands)
    values = np.asarray(worth, dtype=np.float64)
    phi = np.empty((*worth.shape[:-1], bands))
    for band in range(bands):
        phi[..., band] = (band_gains(values, band) * weights).sum(axis=-1)
    return phi


def band_count(worth: NDArray[np.floating]) -> int:
    """Number of bands M of a full table, ``(..., 2**M)``.

    Raises:
        OptionError: if the last axis is not 2**M long for an M from 2 to 16.
    """
    size = worth.shape[-1] if worth.ndim else 0
    bands = size.bit_length() - 1
    if size < 1 or size != 1 << bands:
        raise OptionError(f"a full game has 2**M worths, not {size}: pass one for every coalition")
    check_exact_bands(bands)
    return bands


def arrival_weights(players: int) -> NDArray[np.float64]:
    """Weights of a player's gains over every coalition of the others, ``(2**(players - 1),)``.

    ``|S|! (players - |S| - 1)! / players!``: the share of all orders of arrival in which exactly
    the players of S are there before the player.
    """
    sizes = coalition_size(np.arange(1 << players - 1, dtype=np.uint64))
    by_size = np.array([1.0 / (players * comb(players - 1, s)) for s in range(players)])
    return by_size[sizes]


def band_gains(worth: NDArray[np.float64], band: int) -> NDArray[np.float64]:
    """What a band adds to every coalition of the others, ``(..., 2**(bands - 1))``.

    It is a full table again, of the other bands, which keep their order.

    Args:
        worth: ``(..., 2**bands)``.
        band: index of the band.
    """
    *images, size = worth.shape
    # Axis -2 is bit `band` of the coalition.
    pairs = worth.reshape(*images, size >> band + 1, 2, 1 << band)
    return np.asarray(pairs[..., 1, :] - pairs[..., 0, :]).reshape(*images, size >> 1)
