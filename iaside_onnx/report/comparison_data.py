"""A comparison, its gates and a series as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iaside_onnx.analysis import (
    GATE_LEVEL,
    Accuracy,
    Comparison,
    GateResult,
    Interval,
    Pair,
    Series,
    worse,
)
from iaside_onnx.archive import Archive
from iaside_onnx.report.text import json_number

__all__ = ["comparison_data"]


def comparison_data(
    comparison: Comparison,
    words: Sequence[str],
    results: Sequence[GateResult] = (),
    found: Series | None = None,
) -> dict[str, Any]:
    """All that is known of a comparison; NaN, which JSON does not have, becomes None.

    Args:
        comparison: the comparison.
        words: sentences about it.
        results: answers of gates.
        found: the series, where archives are checkpoints in order.
    """
    return {
        "words": list(words),
        "groups": [
            {
                "baseline": group.baseline,
                "reference": _archive(group.reference),
                "archives": [_archive(pair.archive) for pair in group.pairs],
                "ranking": [str(archive.path) for archive in group.ranking],
                "pairs": [_pair(pair) for pair in group.pairs],
            }
            for group in comparison.groups
        ],
        "gates": [_gate(result) for result in results],
        **({} if found is None else {"series": _series(found)}),
    }


def _interval(found: Interval) -> dict[str, float | None]:
    return {name: json_number(getattr(found, name)) for name in ("value", "low", "high")}


def _archive(archive: Archive) -> dict[str, Any]:
    meta = archive.metadata
    return {
        "archive": str(archive.path),
        "model_name": meta.model_name,
        "model_sha256": meta.model_sha256,
        "images": int(archive["image"].size),
        "accuracy": json_number(meta.accuracy),
        **{name: json_number(float(archive[name])) for name in ("sis", "sis_low", "sis_high")},
        "digest": meta.digest,
    }


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "reference": str(pair.reference.path),
        "archive": str(pair.archive.path),
        "images": pair.images,
        "only_reference": list(pair.only_reference),
        "only_archive": list(pair.only_archive),
        "accuracy": None if pair.accuracy is None else _accuracy(pair.accuracy),
        "agreement": _interval(pair.agreement),
        "log_probability": _interval(pair.log_probability),
        "log_probability_error": _interval(pair.log_probability_error),
        "phi": [_interval(band) for band in pair.bands("phi")],
        "psi": [_interval(band) for band in pair.bands("psi")],
        "sis": _interval(pair.sis),
        "differing": pair.differing,
        "level": pair.level,
        "comparisons": pair.comparisons,
    }


def _accuracy(found: Accuracy) -> dict[str, Any]:
    return {
        "reference": found.reference,
        "other": found.other,
        "difference": _interval(found.difference),
        "gained": found.gained,
        "lost": found.lost,
        "p_value": found.p_value,
    }


def _gate(result: GateResult) -> dict[str, Any]:
    return {
        "kind": result.gate.kind,
        "name": result.gate.name,
        "value": result.gate.value,
        "reference": str(result.reference.path),
        "archive": str(result.archive.path),
        "answer": result.answer,
        "measured": _interval(result.measured),
        "band": result.band,
        "images": result.images,
        "needed": result.needed,
        "level": GATE_LEVEL,
        "comparisons": result.comparisons,
    }


def _series(found: Series) -> dict[str, Any]:
    trend = found.trend
    broke = {"first_drop": found.first_drop, "first_below": found.first_below}
    return {
        "steps": [_pair(pair) for pair in found.steps],
        "trend": {
            "images": trend.images,
            "accuracy": None if trend.accuracy is None else _interval(trend.accuracy),
            "log_probability": _interval(trend.log_probability),
            "phi": [_interval(change) for change in trend.phi],
        },
        **{
            name: None
            if pair is None
            else {"archive": str(pair.archive.path), "worse": list(worse(pair))}
            for name, pair in broke.items()
        },
    }
