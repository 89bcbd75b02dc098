"""The section of a page about differences between archives, image by image."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from markupsafe import Markup

from iaside_onnx.analysis import Group, Interval, Pair
from iaside_onnx.report.chart import COLORS, Bars, Chart, draw
from iaside_onnx.report.marking import bdi, key
from iaside_onnx.report.pairs import Pairs
from iaside_onnx.report.subjects import Subject
from iaside_onnx.report.tables import Table, band_radius, estimate_cell
from iaside_onnx.report.text import number, shortened, with_minus
from iaside_onnx.report.words import pair_words, ranking_words

__all__ = ["comparison_section"]

_NAME = re.compile("\0([0-9]+)\0")


def comparison_section(subjects: Sequence[Subject], pairs: Pairs) -> Mapping[str, Any] | None:
    """Each archive minus the first of its baseline; None where no two have one baseline."""
    if pairs.refused:
        return {"refused": pairs.refused}
    comparison = pairs.comparison
    if comparison is None:
        return None
    # In an edited archive a score may be anything, and there is nothing to say about it.
    # The sentences are plain text: a mark stands in for each name until they are markup.
    marks = {subject.archive.path: f"\0{i}\0" for i, subject in enumerate(subjects)}
    by_path = {subject.archive.path: subject for subject in subjects}
    return {
        "refused": "",
        "reference": bdi(by_path[comparison.reference.path].name),
        "words": [
            _said([*pair_words(pair, marks), *_also(pair)], subjects)
            for pair in comparison.pairs
            if abs(pair.game.sis) <= 1
        ],
        "ranking": [
            _said([text], subjects)
            for text in ranking_words(comparison.groups, marks)
            # What one ranking depends on is said at the top of the page.
            if len(comparison.groups) > 1 and all(abs(s.archive["sis"]) <= 1 for s in subjects)
        ],
        "groups": [
            {
                "table": _table(group, by_path),
                "chart": _chart(group, subjects, i),
                "numbers": [_by_band(group, by_path, name) for name in ("phi", "psi")],
                "baseline": group.baseline if len(comparison.groups) > 1 else "",
            }
            for i, group in enumerate(comparison.groups)
            if group.pairs
        ],
    }


def _also(pair: Pair) -> list[str]:
    """In what else two runs differ."""
    return [f"the two differ also in {pair.differing}"] if pair.differing else []


def _said(texts: Sequence[str], subjects: Sequence[Subject]) -> Markup:
    """Sentences, with the names of models in place of their marks."""
    return Markup(" ").join(_sentence(text, subjects) for text in texts)


def _sentence(text: str, subjects: Sequence[Subject]) -> Markup:
    parts = _NAME.split(text)
    names = [bdi(subjects[int(part)].name) for part in parts[1::2]]
    plain = [with_minus(shortened(part, 600)) for part in parts[::2]]
    found = Markup("{}").format(plain[0][:1].upper() + plain[0][1:])
    for name, part in zip(names, plain[1:], strict=True):
        found += Markup("{}{}").format(name, part)
    return found + "."


def _table(group: Group, by_path: Mapping[Path, Subject]) -> Table:
    heads = [
        "model", "accuracy, points", "p, McNemar", "same answers, %", "log p, nats",
        "error of log p, nats", "SIS",
    ]  # fmt: skip
    rows = [
        [
            key(subject.letter, subject.name, subject.color),
            "\N{EM DASH}" if pair.accuracy is None else _cell(pair.accuracy.difference, 100, 1),
            "\N{EM DASH}" if pair.accuracy is None else _p_text(pair.accuracy.p_value),
            _cell(pair.agreement, 100, 1),
            _cell(pair.log_probability),
            _cell(pair.log_probability_error),
            _cell(pair.sis),
        ]
        for pair in group.pairs
        for subject in [by_path[pair.archive.path]]
    ]
    reference = by_path[group.reference.path]
    return Table(
        f"Minus {reference.letter} {shortened(reference.name, 60)}; all intervals hold together "
        "in 95 of 100 cases; McNemar's p is not corrected; the error is the mean absolute "
        "difference",
        heads, rows,
    )  # fmt: skip


def _cell(interval: Interval, scale: float = 1, digits: int = 3) -> Markup:
    return estimate_cell(
        scale * interval.value, scale * interval.low, scale * interval.high, digits
    )


def _p_text(value: float) -> str:
    return "< 0.001" if value < 0.001 else number(value)


def _by_band(group: Group, by_path: Mapping[Path, Subject], name: Literal["phi", "psi"]) -> Table:
    """Differences of phi or psi, a row for each band."""
    others = [by_path[pair.archive.path] for pair in group.pairs]
    values = [pair.bands(name) for pair in group.pairs]
    rows = [
        [
            str(band),
            band_radius(group.reference, band),
            *(_cell(part[band]) for part in values),
        ]
        for band in range(group.reference.bands)
    ]
    heads = ["band", "radius", *(f"{s.letter} {shortened(s.name, 60)}" for s in others)]
    reference = by_path[group.reference.path]
    return Table(
        f"{name} minus that of {reference.letter} {shortened(reference.name, 60)}"
        f"{', nats' * (name == 'phi')}; all intervals hold together",
        heads, rows,
    )  # fmt: skip


def _chart(group: Group, subjects: Sequence[Subject], place: int) -> Chart | None:
    """Differences of psi, whose bars have one scale for all models."""
    if len(group.pairs) > COLORS:
        return None
    by_path = {subject.archive.path: subject for subject in subjects}
    series = [_bars(pair, by_path[pair.archive.path]) for pair in group.pairs]
    reference = by_path[group.reference.path]
    return draw(
        f"chart-difference-{place}",
        f"psi minus that of {reference.letter} {shortened(reference.name, 60)}",
        "Bars that go up are bands on which a model leans more than the reference; "
        "intervals hold together over all bands and models.",
        "", series, height=180,
    )  # fmt: skip


def _bars(pair: Pair, subject: Subject) -> Bars:
    game = pair.game
    return Bars(
        subject.color % COLORS, subject.letter, subject.name, game.psi, game.psi_low, game.psi_high
    )
