"""Numbers and names as text."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import SupportsFloat

from iaside_onnx.archive import Archive
from iaside_onnx.progress import escaped

__all__ = [
    "bounded_text",
    "interval_text",
    "joined",
    "json_number",
    "number",
    "percent",
    "range_text",
    "shortened",
    "with_minus",
]

_LONGEST = 160
_HUGE = 1e6
_HYPHEN = re.compile(r"(?<!\w)-(?=[0-9])")


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
    return bounded_text(value, low, high)


def bounded_text(value: float, low: float, high: float) -> str:
    """A value with its bounds; with one image there are none."""
    return f"{value:.3f}" + (f" [{low:.3f}, {high:.3f}]" if math.isfinite(low) else " [undefined]")


def json_number(value: SupportsFloat) -> float | None:
    """A number for JSON: None if it is NaN or infinite."""
    found = float(value)
    return found if math.isfinite(found) else None


def number(value: float, digits: int = 3) -> str:
    """A number with a true minus sign, which screen readers say; a dash where there is none."""
    if not math.isfinite(value):
        return "\N{EM DASH}"
    text = f"{value:.{digits}f}" if abs(value) < _HUGE else f"{value:.3g}"
    # Rounded to zero, a number has no sign.
    text = text.removeprefix("-") if not text.strip("-0.") else text
    return text.replace("-", "\N{MINUS SIGN}")


def range_text(low: float, high: float, digits: int = 3) -> str:
    """An interval, such as ``[0.177, 0.190]``."""
    if not math.isfinite(low) or not math.isfinite(high):
        return "[undefined]"
    return f"[{number(low, digits)}, {number(high, digits)}]"


def percent(share: float) -> str:
    """A share, such as ``93.4 %``, which no line break divides."""
    return f"{number(100 * share, 1)}\N{NO-BREAK SPACE}%" if math.isfinite(share) else "unknown"


def shortened(text: str, most: int = _LONGEST) -> str:
    """Text from outside on one line: nothing unprintable, and the middle of a long one left out.

    Characters that change the direction of text are not printable.
    """
    line = escaped(text)
    if len(line) <= most:
        return line
    half = (most - 1) // 2
    return f"{line[:half]}\N{HORIZONTAL ELLIPSIS}{line[-half:]}"


def joined(parts: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def with_minus(text: str) -> str:
    """A sentence whose negative numbers have a true minus sign."""
    return _HYPHEN.sub("\N{MINUS SIGN}", text)
