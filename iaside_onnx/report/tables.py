"""Tables and named facts of a page, ready for the template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from iaside_onnx.archive import Archive
from iaside_onnx.report.text import number, range_text

__all__ = ["Fact", "Table", "band_radius", "estimate_cell", "with_range"]


@dataclass(frozen=True, slots=True)
class Table:
    """One table; the first cell of a row is its header.

    Attributes:
        caption: what it shows.
        heads: headers of the columns.
        rows: cells, which are escaped unless they are markup.
        texts: columns of text, which are aligned to the left and broken; others hold numbers.
    """

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Fact:
    """One number by its name, with an interval or a remark below it."""

    name: str
    value: str
    range: str = ""


def estimate_cell(value: float, low: float, high: float, digits: int = 3) -> Markup:
    """An estimate with its interval below it, as the cell of a table."""
    return Markup('{} <span class="ci">{}</span>').format(
        number(value, digits), range_text(low, high, digits)
    )


def with_range(archive: Archive, name: str, band: int | None = None) -> Markup:
    """An estimate of an archive with its interval below it, as the cell of a table."""
    value, low, high = (
        float(archive[key] if band is None else archive[key][band])
        for key in (name, f"{name}_low", f"{name}_high")
    )
    return estimate_cell(value, low, high)


def band_radius(archive: Archive, band: int) -> str:
    """The radii of a band, such as ``0.125 to 0.250``."""
    low, high = float(archive["band_low"][band]), float(archive["band_high"][band])
    return f"{number(low)} to {number(high)}"
