"""The Shapley value from a full table of worths (Shapley 1953)."""

from __future__ import annotations

from math import comb

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import OptionError
from iaside_onnx.game.coalitions import all_coalitions, coalition_size
from iaside_onnx.types import Phi

__all__ = ["shapley_values"]


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
    size = worth.shape[-1] if worth.ndim else 0
    bands = size.bit_length() - 1
    if size < 1 or size != 1 << bands:
        raise OptionError(f"a full game has 2**M worths, not {size}: pass one for every coalition")
    sizes = coalition_size(all_coalitions(bands))
    weights = np.array([1.0 / (bands * comb(bands - 1, s)) for s in range(bands)])
    values = np.asarray(worth, dtype=np.float64)
    phi = np.empty((*worth.shape[:-1], bands))
    for band in range(bands):
        # Axis -2 is bit `band` of the coalition.
        pairs = values.reshape(*worth.shape[:-1], size >> band + 1, 2, 1 << band)
        without = sizes.reshape(-1, 2, 1 << band)[:, 0]
        gain = pairs[..., 1, :] - pairs[..., 0, :]
        phi[..., band] = (gain * weights[without]).sum(axis=(-2, -1))
    return phi
