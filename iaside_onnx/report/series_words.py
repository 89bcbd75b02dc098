"""A series of checkpoints in sentences: where it broke, and the trend."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from iaside_onnx.analysis import Pair, Series, worse
from iaside_onnx.report.words import bands_text, signed

__all__ = ["series_words"]


def series_words(found: Series, names: Mapping[Path, str]) -> list[str]:
    """Sentences about a series, without full stops; where it broke is first.

    Args:
        found: the series.
        names: what archives are called, by their path.
    """
    first = names[found.comparison.reference.path]
    return [
        _broke_words(found.first_drop, names, "the one before"),
        _broke_words(found.first_below, names, f"the first, {first}"),
        *_trend_words(found),
    ]


def _broke_words(pair: Pair | None, names: Mapping[Path, str], other: str) -> str:
    if pair is None:
        return f"no checkpoint is certainly worse than {other}"
    before = names[pair.reference.path]
    shown = other if other.endswith(before) else f"{other}, {before}"
    parts = []
    for attribute in worse(pair):
        if attribute == "log_probability":
            parts.append(f"log p {signed(pair.log_probability)} nats")
        elif pair.accuracy is not None:
            parts.append(f"accuracy {signed(pair.accuracy.difference)}")
    return (
        f"{names[pair.archive.path]} is the first checkpoint that is certainly worse than {shown}: "
        + ", ".join(parts)
    )


def _trend_words(found: Series) -> list[str]:
    trend = found.trend
    images = f"{trend.images:,} image{'s' * (trend.images != 1)} that all have"
    accuracy = "" if trend.accuracy is None else f"accuracy {signed(trend.accuracy)}, "
    sentence = f"per step, over {images}: {accuracy}log p {signed(trend.log_probability)} nats"
    changes = [
        f"{verb} in {bands_text(bands)}"
        for verb, sign in (("rises", 1), ("falls", -1))
        if (bands := [band for band, change in enumerate(trend.phi) if change.sign == sign])
    ]
    if not changes:
        return [sentence, "no band's phi has a certain trend"]
    return [sentence, f"phi certainly {' and '.join(changes)}"]
