"""A figure as SVG text, which needs no plotting library and no script."""

from __future__ import annotations

import math

from iaside_onnx.archive import Archive

__all__ = ["distribution_figure"]

_WIDTH, _HEIGHT = 640, 280
_LEFT, _TOP, _BOTTOM = 48, 12, 44


def distribution_figure(archive: Archive) -> str:
    """Bars of psi over the bands, with their 95 % intervals, as an ``<svg>`` element."""
    psi, low, high = (archive[name] for name in ("psi", "psi_low", "psi_high"))
    defined = [float(value) for value in [*psi, *high] if math.isfinite(value)]
    top = max(*defined, 1e-12) * 1.05
    step = (_WIDTH - _LEFT) / archive.bands
    base = _HEIGHT - _BOTTOM

    def height(value: float) -> float:
        return base - (base - _TOP) * value / top

    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        'aria-label="distribution psi over the frequency bands">'
    ]
    for tick in _ticks(top):
        y = height(tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for band in range(archive.bands):
        x, y = _LEFT + band * step, height(float(psi[band]))
        parts.append(
            f'<rect x="{x + step * 0.1:.1f}" y="{y:.1f}" width="{step * 0.8:.1f}" '
            f'height="{base - y:.1f}"/>'
        )
        if math.isfinite(low[band]):
            ends = f'y1="{height(float(low[band])):.1f}" y2="{height(float(high[band])):.1f}"'
            middle = f"{x + step / 2:.1f}"
            parts.append(f'<line class="interval" x1="{middle}" x2="{middle}" {ends}/>')
        parts.append(
            f'<text x="{x + step / 2:.1f}" y="{base + 16}" text-anchor="middle">{band}</text>'
        )
    parts.append(
        f'<text x="{(_LEFT + _WIDTH) / 2}" y="{_HEIGHT - 8}" text-anchor="middle">'
        "band, low to high frequency</text></svg>"
    )
    return "\n".join(parts)


def _ticks(top: float) -> list[float]:
    """Three to seven round numbers from 0 to the top of the axis."""
    unit = 10.0 ** math.floor(math.log10(top))
    step = next(unit * s for s in (0.1, 0.2, 0.5, 1.0, 2.0) if top / (unit * s) <= 6)
    return [round(i * step, 10) for i in range(int(top / step) + 1)]
