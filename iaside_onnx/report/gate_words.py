"""Answers of gates in words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from iaside_onnx.analysis import GATE_LEVEL, Gate, GateResult
from iaside_onnx.report.text import bounded_text
from iaside_onnx.report.words import signed

__all__ = ["advice", "gate_name", "level_words", "measured_text", "verdict"]


def gate_name(gate: Gate) -> str:
    """A gate as it is given, such as ``margin accuracy=0.01``."""
    return f"{gate.kind.replace('_', ' ')} {gate}"


def measured_text(result: GateResult) -> str:
    """What was measured, with its interval, and the band that decides."""
    found = result.measured
    band = "" if result.band is None else f"band {result.band}: "
    if result.gate.kind == "margin":
        return band + signed(found)
    return bounded_text(found.value, found.low, found.high)


def advice(result: GateResult) -> str:
    """What to do about an answer; empty if there is nothing to do."""
    if result.answer == "holds":
        return ""
    if result.answer == "fails":
        other = "a wider margin" if result.gate.kind == "margin" else "a lower limit"
        return f"keep the reference, or decide that {other} is good enough"
    if result.needed is not None:
        return f"about {result.needed:,} images would tell, here are {result.images:,}"
    if not math.isfinite(result.measured.low):
        return "there is no interval: take more images"
    return "the estimate lies on the limit, so no number of images can be given: move the limit"


def verdict(results: Sequence[GateResult]) -> str:
    """How many gates gave which answer."""
    counts = Counter(result.answer for result in results)
    holds, fails = (
        f"{counts[answer]} {answer.removesuffix('s' * (counts[answer] != 1))}"
        for answer in ("holds", "fails")
    )
    total = f"{len(results)} gate{'s' * (len(results) != 1)}"
    return f"{total}: {holds}, {fails}, {counts['undecided']} undecided"


def level_words(results: Sequence[GateResult]) -> str:
    """Which intervals decide."""
    count = results[0].comparisons
    return f"intervals of {100 * GATE_LEVEL:g} %" + (
        f" over {count} comparisons" if count > 1 else ""
    )
