"""Signed bars with intervals over the bands, as SVG, by one small module of our own.

Tried for phi of five models: matplotlib gives 27 kB and 128 ``style`` attributes, which a strict
Content Security Policy refuses, pygal 40 kB with two scripts, Altair 31 kB and a package of 30 MB;
none has text that keeps its size on a narrow screen. This one gives 13 kB: positions across are
percentages, so bars become narrower with the screen and text does not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from iaside_onnx.report.text import number, range_text, shortened

__all__ = ["COLORS", "Bars", "Chart", "draw"]

COLORS = 6
"""Models that one chart can tell apart."""

# Pixels: below the bars there is room for letters, numbers of bands, and the name of the axis.
_TOP, _LETTERS, _NUMBERS, _NAME = 10, 18, 20, 20
_AXIS = 46
# Share of a band's room that is left free at each side.
_GAP = 0.1
_MOST_NUMBERS = 20
_REM = 16
_FAR = 1e12


@dataclass(frozen=True, slots=True)
class Bars:
    """One value for each band of one model.

    Attributes:
        color: which of the colours, from 0.
        letter: stands below each bar; empty where there is one model.
        name: of the model.
        values: ``(bands,)``.
        low: lower bounds of the intervals, ``(bands,)``; NaN where there are none.
        high: upper bounds, likewise.
    """

    color: int
    letter: str
    name: str
    values: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart, ready for the template.

    Attributes:
        ident: unique in the page.
        title: what it shows.
        description: what can be seen in it, for who does not see it.
        axis: an ``<svg>`` element with the numbers of the vertical axis.
        plot: an ``<svg>`` element with the bars.
    """

    ident: str
    title: str
    description: str
    axis: Markup
    plot: Markup


def draw(
    ident: str, title: str, description: str, unit: str, series: Sequence[Bars], height: int = 240
) -> Chart:
    """Draw grouped bars from a zero line, up or down.

    Args:
        ident: unique in the page.
        title: what it shows.
        description: what can be seen in it.
        unit: of the values, such as ``nats``; may be empty.
        series: the models, of equally many bands.
        height: of the area of the bars, in pixels.
    """
    scale = _Scale.of(series, height)
    foot = _NUMBERS + _NAME + (_LETTERS if series[0].letter else 0)
    total = _TOP + height + foot
    bands = series[0].values.size
    parts = [*_grid(scale), *_bands(bands, total)]
    for place, bars in enumerate(series):
        parts += _bars(scale, bars, place, len(series), unit)
    parts.append(
        Markup('<text x="50%" y="{}" text-anchor="middle">band, low to high frequency</text>')
        .format(total - 5)
    )  # fmt: skip
    # Bars stay wide enough to be read; the chart scrolls on a narrow screen.
    wide = 5 * math.ceil((14 * len(series) + 6) * bands / _REM / 5)
    plot = Markup(
        '<svg class="plot least-{}" height="{}" role="img" aria-labelledby="{}-t {}-d">'
        '<title id="{}-t">{}</title><desc id="{}-d">{}</desc>{}</svg>'
    ).format(
        min(wide, 100), total, ident, ident, ident, title, ident, description,
        Markup("").join(parts),
    )  # fmt: skip
    return Chart(ident, title, description, _axis(scale, total), plot)


@dataclass(frozen=True, slots=True)
class _Scale:
    """Values to pixels, with a tick at every step; one lies at or beyond the largest bar."""

    low: float
    high: float
    step: float
    height: int

    @classmethod
    def of(cls, series: Sequence[Bars], height: int) -> _Scale:
        values = np.concatenate([[0.0], *((s.values, s.low, s.high) for s in series)], axis=None)
        # An edited archive may hold anything.
        defined = np.clip(values[np.isfinite(values)], -_FAR, _FAR)
        low, high = float(defined.min()), float(defined.max())
        if high - low < 1e-12:
            high = 1.0
        room = 0.04 * (high - low)
        low, high = low - room if low < 0 else 0.0, high + room if high > 0 else 0.0
        span = high - low
        unit = 10.0 ** math.floor(math.log10(span))
        step = next(unit * s for s in (0.1, 0.2, 0.5, 1.0, 2.0) if span / (unit * s) <= 6)
        bars = np.concatenate([[0.0], *(s.values for s in series)], axis=None)
        bars = np.clip(bars[np.isfinite(bars)], -_FAR, _FAR)
        largest = float(bars[np.abs(bars).argmax()])
        # The last tick is within the chart also where division rounds up.
        end = math.ceil(abs(largest) / step - 1e-9) * step
        if largest < 0:
            return cls(min(low, -end), high, step, height)
        return cls(low, max(high, end), step, height)

    def y(self, value: float) -> float:
        inside = min(max(value, self.low), self.high)
        return _TOP + self.height * (self.high - inside) / (self.high - self.low)

    def ticks(self) -> list[float]:
        first = math.ceil(self.low / self.step - 1e-9)
        last = math.floor(self.high / self.step + 1e-9)
        return [i * self.step for i in range(first, last + 1)]


def _tick_text(value: float) -> str:
    return f"{value:.10g}".replace("-", "\N{MINUS SIGN}")


def _axis(scale: _Scale, total: int) -> Markup:
    texts = [
        Markup('<text x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(
            _AXIS - 8, scale.y(tick) + 4, _tick_text(tick)
        )
        for tick in scale.ticks()
    ]
    return Markup('<svg class="axis" width="{}" height="{}" aria-hidden="true">{}</svg>').format(
        _AXIS, total, Markup("").join(texts)
    )


def _grid(scale: _Scale) -> list[Markup]:
    return [
        Markup('<line class="{}" x1="0" x2="100%" y1="{:.1f}" y2="{:.1f}"/>').format(
            "zero" if tick == 0 else "grid", scale.y(tick), scale.y(tick)
        )
        for tick in scale.ticks()
    ]


def _bands(bands: int, total: int) -> list[Markup]:
    """Numbers of the bands; not all of them where there are many."""
    every = math.ceil(bands / _MOST_NUMBERS)
    return [
        Markup('<text x="{:.2f}%" y="{}" text-anchor="middle">{}</text>').format(
            100 * (band + 0.5) / bands, total - _NAME - 6, band
        )
        for band in range(0, bands, every)
    ]


def _bars(scale: _Scale, bars: Bars, place: int, count: int, unit: str) -> list[Markup]:
    bands = bars.values.size
    room = (1 - 2 * _GAP) / count
    parts = []
    for band in range(bands):
        left = 100 * (band + _GAP + place * room) / bands
        parts.append(_bar(scale, bars, band, left, 100 * room / bands, unit))
    return parts


def _bar(scale: _Scale, bars: Bars, band: int, left: float, width: float, unit: str) -> Markup:
    value, low, high = (float(v[band]) for v in (bars.values, bars.low, bars.high))
    middle, bottom = left + width / 2, _TOP + scale.height
    shapes = []
    if math.isfinite(value):
        top, base = sorted((scale.y(value), scale.y(0.0)))
        shapes.append(
            Markup('<rect x="{:.2f}%" y="{:.1f}" width="{:.2f}%" height="{:.1f}"/>').format(
                left + width * 0.06, top, width * 0.88, base - top
            )
        )
    if math.isfinite(low) and math.isfinite(high):
        shapes.append(
            Markup('<line x1="{:.2f}%" x2="{:.2f}%" y1="{:.1f}" y2="{:.1f}"/>').format(
                middle, middle, scale.y(high), scale.y(low)
            )
        )
    if bars.letter:
        shapes.append(
            Markup('<text x="{:.2f}%" y="{}" text-anchor="middle">{}</text>').format(
                middle, bottom + 14, bars.letter
            )
        )
    # What is hovered is the whole column, as bars may be flat.
    return Markup(
        '<g class="bar c{}"><title>{}</title><rect class="hit" x="{:.2f}%" y="{}" width="{:.2f}%" '
        'height="{}"/>{}</g>'
    ).format(
        bars.color, _said(bars, band, value, low, high, unit), left, _TOP, width,
        scale.height + (_LETTERS if bars.letter else 0), Markup("").join(shapes),
    )  # fmt: skip


def _said(bars: Bars, band: int, value: float, low: float, high: float, unit: str) -> str:
    name = f"{bars.letter} {shortened(bars.name, 60)}, " if bars.letter else ""
    return f"{name}band {band}: {number(value)} {unit}".rstrip() + f" {range_text(low, high)}"
