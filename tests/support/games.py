"""Tables of worths for the tests of what is computed from them."""

from __future__ import annotations

from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

__all__ = ["TIED", "WIDE", "close", "has", "interactions_by_definition", "tables"]

# Few distinct values make ties; the bounds of the second kind reach what log-probabilities do.
TIED = st.sampled_from([-87.5, -1.0, 0.0, 0.0, 0.25])
WIDE = st.floats(-750, 0, width=64)


@st.composite
def tables(draw: st.DrawFn, count: int = 1, least: int = 2, most: int = 6) -> list[Any]:
    """The number of bands, and that many tables of 2**bands worths."""
    bands = draw(st.integers(least, most))
    values = draw(st.sampled_from([TIED, WIDE]))
    return [bands, *(draw(arrays(np.float64, 2**bands, elements=values)) for _ in range(count))]


def close(found: Any, wanted: Any) -> None:
    """Within rounding of sums of numbers up to 750."""
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-10)


def has(bands: int, band: int) -> NDArray[np.bool_]:
    """Which coalitions hold a band."""
    return np.asarray(np.arange(2**bands) >> band & 1, dtype=np.bool_)


def interactions_by_definition(worth: NDArray[np.float64], bands: int) -> NDArray[np.float64]:
    """``(..., bands, bands)``: sums over all sets without a pair (Grabisch and Roubens 1999)."""
    found = np.zeros((*worth.shape[:-1], bands, bands))
    for i, j in combinations(range(bands), 2):
        others = [band for band in range(bands) if band not in (i, j)]
        for size in range(bands - 1):
            weight = factorial(size) * factorial(bands - size - 2) / factorial(bands - 1)
            for members in combinations(others, size):
                s = sum(1 << band for band in members)
                alone = worth[..., s | 1 << i] + worth[..., s | 1 << j]
                together = worth[..., s | 1 << i | 1 << j] + worth[..., s]
                found[..., i, j] += weight * (together - alone)
    return found + found.swapaxes(-1, -2)
