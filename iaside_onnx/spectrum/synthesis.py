"""From components to the filtered images of many coalitions."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from iaside_onnx.types import Coalitions, PixelRange

__all__ = ["limit_range", "mix"]

_FLAT = 1e-5
"""A lesser span, in pixel units, is rounding of the transforms and no picture."""


def mix(offset: Any, components: Any, coalitions: Coalitions, out: Any, xp: Any = np) -> None:
    """Write the image of each coalition: the offset plus the components that are present.

    A coalition's image is always the sum in the same order, highest band first, so it is the same
    bit for bit whatever else is in the batch, and with NumPy and CuPy alike. Nearly every image is
    another row of the batch plus one component: one addition an image, and in a run of consecutive
    coalitions one call for half of its rows. This needs no matrix product, whose threads would
    spin on the cores that the model wants.

    Args:
        offset: what stands there with no band present, ``(...)`` float32.
        components: what each band adds, ``(bands, ...)`` float32.
        coalitions: ``(n,)`` bit masks; always NumPy's.
        out: ``(n, ...)`` float32, overwritten.
        xp: the array module that the images belong to, NumPy or CuPy.
    """
    for row, size, source, bands in _steps(np.ascontiguousarray(coalitions, np.uint64).tobytes()):
        if source is None:
            out[row] = offset
            for band in bands:
                out[row] += components[band]
        else:
            xp.add(out[source], components[bands[0]], out=out[row])
        step = 1 << (size - 1).bit_length() >> 1
        while step:
            # Rows with no lower band are there already; each gives the row with this band as well.
            target = out[row + step : row + size : 2 * step]
            known = out[row : row + size : 2 * step][: len(target)]
            xp.add(known, components[step.bit_length() - 1], out=target)
            step //= 2


@lru_cache(maxsize=1024)
def _steps(masks: bytes) -> list[tuple[int, int, int | None, tuple[int, ...]]]:
    """How to make a batch: first row, number of rows, row to begin from, bands to add to that.

    The rows of a step are consecutive coalitions, and all bands of the first are above those that
    it lacks. Images come one after the other over the same coalitions, so that batches recur.
    """
    coalitions = np.frombuffer(masks, dtype=np.uint64).tolist()
    rows: dict[int, int] = {}
    steps: list[tuple[int, int, int | None, tuple[int, ...]]] = []
    row = 0
    while row < len(coalitions):
        coalition = coalitions[row]
        lowest = coalition & -coalition or len(coalitions)
        size = 1
        while size < lowest and coalitions[row + size : row + size + 1] == [coalition + size]:
            size += 1
        source = rows.get(coalition - lowest) if coalition else None
        bits = coalition if source is None else lowest
        bands = tuple(b for b in range(bits.bit_length() - 1, -1, -1) if bits >> b & 1)
        steps.append((row, size, source, bands))
        rows.update(zip(coalitions[row : row + size], range(row, row + size), strict=True))
        row += size
    return steps


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
