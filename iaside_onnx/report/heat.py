"""The section of a page about pairs of bands: heat maps of their interactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from iaside_onnx.analysis import Interactions, interactions
from iaside_onnx.errors import ArchiveError
from iaside_onnx.report.interactions import interaction_words
from iaside_onnx.report.subjects import Subject
from iaside_onnx.report.text import number, shortened, with_minus

__all__ = ["interactions_section"]

# Shades of each sign.
_SHADES = 4


@dataclass(frozen=True, slots=True)
class _Cell:
    """One pair of bands: how strong it is among all, what it says, and what it says in full."""

    shade: str
    text: str
    title: str


def interactions_section(subjects: Sequence[Subject]) -> Mapping[str, Any] | None:
    """A heat map for each archive with every coalition; None where there is none."""
    maps = [found for subject in subjects if (found := _map(subject, len(subjects) > 1))]
    missing = [s.letter for s in subjects if s.archive.own_coalitions]
    return {"maps": maps, "missing": ", ".join(missing)} if maps else None


def _map(subject: Subject, several: bool) -> Mapping[str, Any] | None:
    if subject.archive.own_coalitions or subject.bands < 2:
        return None
    try:
        found = interactions(subject.archive)
    except ArchiveError:
        # It was edited; of what it lacks, the top of the page warns.
        return None
    if not np.isfinite(found.values).all():
        return None
    strongest = max(float(np.abs(found.values).max()), 1e-12)
    bands, words = range(found.bands), interaction_words(found)
    return {
        "caption": f"{f'{subject.letter} ' * several}{shortened(subject.name, 60)}: "
        "interactions of bands, nats",
        "bands": list(bands),
        "rows": [(i, [_cell(found, i, j, strongest) for j in bands]) for i in bands],
        "words": [f"{text[:1].upper()}{text[1:]}." for text in map(with_minus, words)],
    }


def _cell(found: Interactions, i: int, j: int, strongest: float) -> _Cell | None:
    """None on the diagonal."""
    if i == j:
        return None
    value, low, high = (float(part[i, j]) for part in (found.values, found.low, found.high))
    level = int(np.ceil(_SHADES * abs(value) / strongest)) if value else 0
    text = number(value, 2)
    certain = low > 0 or high < 0
    return _Cell(
        f"{'up' if value > 0 else 'down'}-{level}",
        text if certain else f"({text})",
        f"bands {i} and {j}: {number(value)} nats [{number(low)}, {number(high)}]",
    )
