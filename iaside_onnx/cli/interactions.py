"""What ``iaside show --interactions`` adds: how bands interact in pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iaside_onnx.archive import Archive
from iaside_onnx.cli.console import print_table, results
from iaside_onnx.report.text import json_number

if TYPE_CHECKING:
    from iaside_onnx.analysis import Interactions

__all__ = ["interactions_as_json", "interactions_of", "print_interactions"]

_LEGEND = (
    "nats that one band contributes more where the other is present; means over images",
    "*: the interval excludes 0; the intervals of all pairs hold together (95 %)",
)


def interactions_of(archive: Archive) -> Interactions:
    """The interactions of the bands of an archive.

    Raises:
        ArchiveError: if it does not hold every coalition, or a worth is not finite.
    """
    # The import loads SciPy, which `iaside show` does not need without this.
    from iaside_onnx.analysis import interactions

    return interactions(archive)


def interactions_as_json(found: Interactions) -> list[dict[str, Any]]:
    """All pairs as JSON values, the largest interactions first."""
    return [
        {
            "bands": [i, j],
            "interaction": json_number(found.values[i, j]),
            "low": json_number(found.low[i, j]),
            "high": json_number(found.high[i, j]),
        }
        for i, j in found.pairs()
    ]


def print_interactions(found: Interactions) -> None:
    """Print the matrix of interactions, and the strongest pairs in words."""
    # As above.
    from iaside_onnx.report.interactions import interaction_words

    console = results()
    bands = range(found.bands)
    heads = ["band ", *(f"{j} " for j in bands)]
    rows = [[f"{i} ", *(_cell(found, i, j) for j in bands)] for i in bands]
    console.print()
    print_table(console, heads, rows, [0.0] * found.bands)
    console.print()
    for line in [*_LEGEND, *interaction_words(found)]:
        console.print(line, soft_wrap=True)


def _cell(found: Interactions, i: int, j: int) -> str:
    if i == j:
        return ""
    interval = found.interval(i, j)
    return f"{interval.value:.3f}{'*' if interval.sign else ' '}"
