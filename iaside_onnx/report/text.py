"""Numbers as text."""

from __future__ import annotations

import math

from iaside_onnx.archive import Archive
from iaside_onnx.progress import escaped

__all__ = ["interval_text", "shortened"]


def shortened(text: str, most: int) -> str:
    """Text from outside on one line, cut to so many characters, control characters escaped."""
    line = escaped(text)
    return line if len(line) <= most else f"{line[: most - 1]}…"


def interval_text(archive: Archive, name: str, band: int | None = None) -> str:
    """An estimate with its 95 % interval, such as ``0.184 [0.177, 0.190]``.

    Args:
        archive: holds the estimate.
        name: ``phi``, ``psi`` or ``sis``.
        band: index of the band; None for ``sis``.
    """
    value, low, high = (
        float(archive[key] if band is None else archive[key][band])
        for key in (name, f"{name}_low", f"{name}_high")
    )
    # With one image there is no interval.
    return f"{value:.3f}" + (f" [{low:.3f}, {high:.3f}]" if math.isfinite(low) else " [undefined]")
