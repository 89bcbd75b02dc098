"""Tables of a comparison, as text in cells, for the terminal and for Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from iaside_onnx.analysis import Comparison, GateResult, Group, Interval, Pair, Series
from iaside_onnx.archive import Archive
from iaside_onnx.report.gate_words import advice, gate_name, measured_text
from iaside_onnx.report.text import interval_text
from iaside_onnx.report.words import signed

__all__ = [
    "Table",
    "answers_table",
    "gates_table",
    "phi_tables",
    "ranking_table",
    "scores_table",
    "steps_table",
    "trend_table",
]

CERTAIN = "*"
"""Marks a difference whose interval does not contain 0."""

# Differences with intervals beside each other that a terminal has room for.
_COLUMNS = 3


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text.

    Attributes:
        heads: heads of the columns.
        rows: the cells of each row.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


def answers_table(group: Group, names: Mapping[Path, str]) -> Table:
    """A row for the reference and one for each other archive: accuracy, and equal answers.

    Args:
        group: archives with one baseline.
        names: what archives are called, by their path.
    """
    reference = group.reference
    rows = [
        [
            names[reference.path], f"{reference['image'].size:,}", _accuracy_text(reference),
            "-", "-", "-",
        ]
    ]  # fmt: skip
    for pair in group.pairs:
        found = pair.accuracy
        accuracy = (
            ["-"] * 3
            if found is None
            else [f"{found.other:.3f}", _marked(found.difference), _p_text(found.p_value)]
        )
        same = f"{pair.agreement.value:.3f}"
        rows.append([names[pair.archive.path], f"{pair.images:,}", *accuracy, same])
    heads = ("model", "images", "accuracy", "difference [95 %]", "p", "same answer")
    return Table(heads, rows)


def scores_table(group: Group, names: Mapping[Path, str]) -> Table:
    """A row for the reference and one for each other archive: score, and log-probability."""
    reference = group.reference
    rows = [[names[reference.path], f"{float(reference['sis']):.3f}", "-", "-", "-"]]
    rows += [
        [
            names[pair.archive.path],
            f"{float(pair.archive['sis']):.3f}",
            _marked(pair.sis),
            _marked(pair.log_probability),
            f"{pair.log_probability_error.value:.3f}",
        ]
        for pair in group.pairs
    ]
    heads = ("model", "SIS", "difference [95 %]", "log p, difference [95 %]", "log p, error")
    return Table(heads, rows)


def phi_tables(group: Group, names: Mapping[Path, str]) -> list[Table]:
    """A row for each band, a column for each archive: differences of phi in nats.

    Several tables where one would be wider than a terminal.
    """
    return [
        _phi_table(group.reference, group.pairs[start : start + _COLUMNS], names)
        for start in range(0, len(group.pairs), _COLUMNS)
    ]


def _phi_table(reference: Archive, pairs: Sequence[Pair], names: Mapping[Path, str]) -> Table:
    differences = [pair.bands("phi") for pair in pairs]
    rows = [
        [
            str(band),
            f"{reference['phi'][band]:.3f}",
            *(_marked(own[band]) for own in differences),
        ]
        for band in range(reference.bands)
    ]
    columns = (names[pair.archive.path] for pair in pairs)
    return Table(["band", names[reference.path], *columns], rows)


def ranking_table(comparison: Comparison, names: Mapping[Path, str]) -> Table:
    """The rankings by score of all baselines, side by side."""
    rankings = [group.ranking for group in comparison.groups]
    rows = [
        [
            str(place),
            *(f"{names[archive.path]} {interval_text(archive, 'sis')}" for archive in archives),
        ]
        for place, archives in enumerate(zip(*rankings, strict=True), start=1)
    ]
    heads = ["rank by SIS", *(f"baseline {group.baseline}" for group in comparison.groups)]
    return Table(heads, rows)


def gates_table(results: Sequence[GateResult], names: Mapping[Path, str]) -> Table:
    """A row for each gate and archive: the answer, what was measured, what to do."""
    heads = ("answer", "model", "gate", "measured", "what to do")
    rows = [
        [
            result.answer, names[result.archive.path], gate_name(result.gate),
            measured_text(result), advice(result),
        ]
        for result in results
    ]  # fmt: skip
    return Table(heads, rows)


def steps_table(found: Series, names: Mapping[Path, str]) -> Table:
    """A row for each checkpoint but the first, compared with the one before."""
    heads = ("checkpoint", "accuracy", "log p", "SIS")
    rows = [
        [
            names[pair.archive.path],
            "-" if pair.accuracy is None else _marked(pair.accuracy.difference),
            _marked(pair.log_probability),
            _marked(pair.sis),
        ]
        for pair in found.steps
    ]
    return Table(heads, rows)


def trend_table(found: Series) -> Table:
    """A row for each quantity: its change per step."""
    trend = found.trend
    named = [
        ("accuracy", trend.accuracy),
        ("log p, nats", trend.log_probability),
        *((f"phi {band}, nats", change) for band, change in enumerate(trend.phi)),
    ]
    rows = [[name, _marked(change)] for name, change in named if change is not None]
    return Table(("per step", "change [95 %]"), rows)


def _marked(difference: Interval) -> str:
    """A difference, with a mark where it is certain."""
    return f"{signed(difference)} {CERTAIN if difference.sign else ' '}"


def _accuracy_text(archive: Archive) -> str:
    value = archive.metadata.accuracy
    return f"{value:.3f}" if math.isfinite(value) else "-"


def _p_text(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"
