"""Coalitions of bands, as bit masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import OptionError
from iaside_onnx.types import Coalitions

__all__ = [
    "MAX_EXACT_BANDS",
    "all_coalitions",
    "check_exact_bands",
    "coalition_size",
    "membership",
]

MAX_EXACT_BANDS = 16
"""All 2^M coalitions are evaluated up to this many bands."""


def all_coalitions(bands: int) -> Coalitions:
    """Every coalition of ``bands`` bands, ``(2**bands,)``; position and bit mask are the same.

    Raises:
        OptionError: if there are fewer than 2 or more than 16 bands.
    """
    check_exact_bands(bands)
    return np.arange(1 << bands, dtype=np.uint64)


def check_exact_bands(bands: int) -> None:
    """Check that every coalition of so many bands can be evaluated.

    Raises:
        OptionError: if there are fewer than 2 or more than 16 bands.
    """
    if not 2 <= bands <= MAX_EXACT_BANDS:
        raise OptionError(
            f"the number of bands must be from 2 to {MAX_EXACT_BANDS} when every coalition "
            f"is evaluated, not {bands}"
        )


def membership(coalitions: Coalitions, bands: int) -> NDArray[np.bool_]:
    """Which bands are present in each coalition, ``(n, bands)``."""
    bits = np.arange(bands, dtype=np.uint64)
    return np.asarray(coalitions[:, None] >> bits & np.uint64(1), dtype=np.bool_)


def coalition_size(coalitions: Coalitions) -> NDArray[np.int64]:
    """How many bands are present in each coalition, ``(n,)``."""
    return np.asarray(membership(coalitions, 64).sum(axis=1), dtype=np.int64)
