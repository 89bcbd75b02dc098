"""What ``iaside show --interactions`` adds: how bands interact in pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iaside_onnx.archive import Archive
from iaside_onnx.cli.console import json_number, print_table, results
from iaside_onnx.report import bounds_text

if TYPE_CHECKING:
    from iaside_onnx.analysis import Interactions

__all__ = ["interactions_as_json", "interactions_of", "print_interactions"]

_MEANING = {
    1: "they need each other (worth more together than apart)",
    -1: "they overlap (worth less together than apart)",
}
_STRONGEST = 3
"""How many pairs of either sign are put in words."""


def interactions_of(archive: Archive) -> Interactions:
    """The interactions of the bands of an archive.

    Raises:
        ArchiveError: if it does not hold every coalition.
    """
    # The import loads SciPy, which `iaside show` does not need without this.
    from iaside_onnx.analysis import interactions

    return interactions(archive)


def interactions_as_json(found: Interactions) -> list[dict[str, Any]]:
    """All pairs as JSON values, the largest interactions first."""
    return [
        {
            "bands": [i, j],
            "interaction": float(found.values[i, j]),
            "low": json_number(found.low[i, j]),
            "high": json_number(found.high[i, j]),
        }
        for i, j in found.pairs()
    ]


def print_interactions(found: Interactions) -> None:
    """Print the matrix of interactions, and the strongest pairs in words."""
    console = results()
    console.print()
    sign = found.sign
    rows = [
        [
            f"{i} ",
            *(
                "" if i == j else f"{found.values[i, j]:.3f}{'*' if sign[i, j] else ' '}"
                for j in range(found.bands)
            ),
        ]
        for i in range(found.bands)
    ]
    heads = ["band ", *(f"{j} " for j in range(found.bands))]
    print_table(console, heads, rows, [0.0] * found.bands)
    console.print()
    for line in [*_legend(found), *_strongest(found)]:
        console.print(line, soft_wrap=True)


def _legend(found: Interactions) -> list[str]:
    meaning = "nats that one band contributes more where the other is present; means over images"
    if found.images == 1:
        return [meaning, "one image has no intervals"]
    return [meaning, "*: the interval excludes 0; the intervals of all pairs hold together (95 %)"]


def _strongest(found: Interactions) -> list[str]:
    """The strongest pairs of either sign whose intervals exclude 0, in words."""
    lines = []
    for sign, meaning in _MEANING.items():
        certain = [pair for pair in found.pairs() if found.sign[pair] == sign]
        lines += [
            f"bands {i} and {j}: "
            f"{bounds_text(found.values[i, j], found.low[i, j], found.high[i, j])} nats: {meaning}"
            for i, j in certain[:_STRONGEST]
        ]
    if not lines and found.images > 1:
        lines.append("no interval excludes 0; more images would make them narrower")
    return lines
