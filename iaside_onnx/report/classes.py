"""The section of a page about classes: which are fragile, and what they are taken for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from iaside_onnx.analysis import ClassResult, by_class
from iaside_onnx.report.marking import class_label
from iaside_onnx.report.pairs import Pairs
from iaside_onnx.report.subjects import Subject
from iaside_onnx.report.tables import Table, estimate_cell
from iaside_onnx.report.text import number, shortened

__all__ = ["classes_section"]

# The most fragile are first, so that the others may be left out.
_MOST_CLASSES = 30
_TAKEN_FOR = 2


def classes_section(subjects: Sequence[Subject], pairs: Pairs) -> Mapping[str, Any] | None:
    """Each class by itself, the most fragile first; None where there is one class."""
    results = [by_class(subject.archive) for subject in subjects]
    count = max(map(len, results))
    if count < 2:
        return None
    several = len(subjects) > 1
    tables = [
        _table(subject, found, several) for subject, found in zip(subjects, results, strict=True)
    ]
    return {
        # Class 2 of one data set is not that of another.
        "beside": _beside(subjects, results) if several and pairs.apart is None else None,
        "tables": tables,
        "few": any(one.few for found in results for one in found),
        "left_out": max(count - _MOST_CLASSES, 0),
    }


def _table(subject: Subject, results: Sequence[ClassResult], several: bool) -> Table:
    heads = ["class", "images", "accuracy, %", "SIS", "log p, nats", "taken for"]
    rows = [
        [
            class_label(subject.classes, one.index),
            f"{one.images:,}{'*' * one.few}",
            _accuracy(one),
            estimate_cell(one.sis, one.sis_low, one.sis_high),
            number(one.log_probability),
            _taken_for(subject, one),
        ]
        for one in results[:_MOST_CLASSES]
    ]
    title = f"{f'{subject.letter} ' * several}{shortened(subject.name, 60)}"
    return Table(f"{title}: classes, the most fragile first", heads, rows, frozenset({5}))


def _accuracy(one: ClassResult) -> str:
    if one.accuracy is None:
        return "\N{EM DASH}"
    value, low, high = (100 * x for x in (one.accuracy.value, one.accuracy.low, one.accuracy.high))
    return estimate_cell(value, low, high, 1)


def _taken_for(subject: Subject, one: ClassResult) -> Markup:
    parts = [
        Markup("{}: {}").format(class_label(subject.classes, index), count)
        for index, count in one.confusions[:_TAKEN_FOR]
    ]
    return Markup("; ").join(parts) if parts else Markup("nothing else")


def _beside(subjects: Sequence[Subject], results: Sequence[Sequence[ClassResult]]) -> Table | None:
    """Accuracy by class of several models, the class with the lowest of any model first."""
    known = [
        (subject, {one.index: one for one in found})
        for subject, found in zip(subjects, results, strict=True)
        if subject.labelled
    ]
    if len(known) < 2:
        return None
    lowest: dict[int, float] = {}
    for _, found in known:
        for index, one in found.items():
            if one.accuracy is not None:
                lowest[index] = min(one.accuracy.value, lowest.get(index, 1.0))
    order = sorted(lowest, key=lambda index: (lowest[index], index))[:_MOST_CLASSES]
    names = {i: name for s, _ in reversed(known) for i, name in s.classes.items()}
    rows = [
        [
            class_label(names, index),
            *(_accuracy(found[index]) if index in found else "" for _, found in known),
        ]
        for index in order
    ]
    heads = ["class", *(f"{s.letter} {shortened(s.name, 60)}" for s, _ in known)]
    return Table(
        "Accuracy by class, %; first the class with which any of the models does worst", heads, rows
    )
