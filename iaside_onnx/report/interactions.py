"""Interactions of pairs of bands in sentences."""

from __future__ import annotations

from iaside_onnx.analysis import Interactions
from iaside_onnx.report.words import signed

__all__ = ["interaction_words"]

_MEANING = {
    1: "they need each other (worth more together than apart)",
    -1: "they overlap (worth less together than apart)",
}


def interaction_words(found: Interactions, most: int = 3) -> list[str]:
    """The strongest pairs of either sign, a sentence each.

    Args:
        found: the interactions of all pairs.
        most: number of pairs of either sign. Those whose intervals hold 0 are left out.
    """
    if found.images == 1:
        return ["one image has no intervals, so nothing is certain about its interactions"]
    lines = []
    for sign, meaning in _MEANING.items():
        intervals = [(pair, found.interval(*pair)) for pair in found.pairs()]
        certain = [(pair, interval) for pair, interval in intervals if interval.sign == sign]
        lines += [
            f"bands {i} and {j}: {signed(interval)} nats: {meaning}"
            for (i, j), interval in certain[:most]
        ]
    return lines or ["every interval holds 0; more images would make them narrower"]
