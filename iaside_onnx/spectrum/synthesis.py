"""From components to the filtered images of many coalitions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.types import Coalitions, PixelRange

__all__ = ["limit_range", "mix"]

_FLAT = 1e-5
"""A lesser span, in pixel units, is rounding of the transforms and no picture."""


def mix(
    offset: NDArray[np.float32],
    components: NDArray[np.float32],
    coalitions: Coalitions,
    out: NDArray[np.float32],
) -> None:
    """Write the image of each coalition: the offset plus the components that are present.

    A coalition's image is always the sum in the same order, highest band first, so it is the same
    bit for bit whatever else is in the batch. In a run of consecutive coalitions nearly every
    image is another row of the batch plus one component: one addition an image. This needs no
    matrix product, whose threads would spin on the cores that the model wants.

    Args:
        offset: what stands there with no band present, ``(...)``.
        components: what each band adds, ``(bands, ...)``.
        coalitions: ``(n,)`` bit masks.
        out: ``(n, ...)`` float32, overwritten.
    """
    n = coalitions.size
    first = int(coalitions[0]) if n else 0
    consecutive = np.arange(first, first + n, dtype=np.uint64)
    if n and n & (n - 1) == 0 and first % n == 0 and np.array_equal(coalitions, consecutive):
        _mix_run(offset, components, first, out)
        return
    rows: dict[int, int] = {}
    for row, coalition in enumerate(coalitions.tolist()):
        smaller = coalition & (coalition - 1)
        known = rows.get(smaller)
        if coalition and known is not None:
            lowest = (coalition ^ smaller).bit_length() - 1
            np.add(out[known], components[lowest], out=out[row])
        else:
            _add_bands(offset, components, coalition, out[row])
        rows[coalition] = row


def _mix_run(
    offset: NDArray[np.float32],
    components: NDArray[np.float32],
    first: int,
    out: NDArray[np.float32],
) -> None:
    """Consecutive coalitions, a power of two of them, aligned: one addition a band for all rows."""
    _add_bands(offset, components, first, out[0])
    step = len(out) // 2
    while step:
        # Rows with no lower band are there already; each gives the row with this band as well.
        np.add(out[:: 2 * step], components[step.bit_length() - 1], out=out[step :: 2 * step])
        step //= 2


def _add_bands(
    offset: NDArray[np.float32],
    components: NDArray[np.float32],
    coalition: int,
    out: NDArray[np.float32],
) -> None:
    out[...] = offset
    for band in range(coalition.bit_length() - 1, -1, -1):
        if coalition >> band & 1:
            out += components[band]


def limit_range(images: Any, kind: PixelRange, xp: Any = np) -> None:
    """Bring filtered images, ``(n, ...)`` in pixel units, back into [0, 1], in place.

    Args:
        images: the filtered images of one or more coalitions.
        kind: ``none``, left as they are; ``clip``, cut at 0 and 1; ``minmax``, each image stretched
            so that its own smallest value becomes 0 and its largest 1; an image that is constant
            but for rounding is clipped.
        xp: the array module that the images belong to, NumPy or CuPy.
    """
    if kind == "minmax":
        axes = tuple(range(1, images.ndim))
        low = images.min(axis=axes, keepdims=True)
        span = images.max(axis=axes, keepdims=True) - low
        flat = span < _FLAT
        images -= xp.where(flat, xp.float32(0), low)
        images /= xp.where(flat, xp.float32(1), span)
    if kind != "none":
        xp.clip(images, 0.0, 1.0, out=images)
