"""The sections of a page that need nothing but the archives: each a function to its context."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from iaside_onnx.archive import Archive
from iaside_onnx.report.answers import answer, cautions
from iaside_onnx.report.chart import COLORS, Bars, Chart, draw
from iaside_onnx.report.findings import accuracy, carrying, hurting, score_text
from iaside_onnx.report.marking import bdi, class_label, key
from iaside_onnx.report.pairs import Pairs
from iaside_onnx.report.subjects import Subject
from iaside_onnx.report.tables import Fact, Table, band_radius, with_range
from iaside_onnx.report.text import number, percent, range_text, shortened
from iaside_onnx.report.words import bands_text

__all__ = ["answer_section", "bands_section", "provenance_section", "worst_section"]

_WORST = 10
# The largest contribution of one model may be so many times that of another in one chart.
_UNEQUAL = 6.0
_MOST_NOTES, _LONGEST_NOTE = 40, 600


def answer_section(subjects: Sequence[Subject], pairs: Pairs) -> Mapping[str, Any]:
    """What it is and what follows, in words and a few numbers."""
    several = len(subjects) > 1
    return {
        "answer": answer(subjects, pairs),
        "cautions": cautions(subjects, pairs),
        "warnings": [shortened(s.warning, 400) for s in subjects if s.warning],
        "facts": None if several else _facts(subjects[0]),
        "table": _overview(subjects) if several else None,
        "bands": subjects[0].bands,
    }


def _facts(subject: Subject) -> list[Fact]:
    archive = subject.archive
    score, _, bounds = score_text(subject).partition(" ")
    return [
        Fact("accuracy on whole images", *_accuracy(subject))
        if subject.labelled
        else Fact("labels", "its own answers"),
        Fact("SIS", score, bounds),
        Fact("images", f"{subject.images:,}", f"baseline {archive.recipe.baseline}"),
        Fact("bands that hurt", str(len(hurting(subject))), f"of {subject.bands}"),
    ]


def _accuracy(subject: Subject) -> tuple[str, str]:
    found = accuracy(subject)
    return percent(found.value), range_text(100 * found.low, 100 * found.high, 1)


def _overview(subjects: Sequence[Subject]) -> Table:
    heads = [
        "model", "images", "accuracy", "SIS", "log p, nats", "bands that carry it",
        "bands that hurt",
    ]  # fmt: skip
    rows = [
        [
            key(subject.letter, subject.name, subject.color),
            f"{subject.images:,}",
            _accuracy_cell(subject),
            with_range(subject.archive, "sis"),
            number(float(subject.archive["log_probability_whole"].mean())),
            _band_list(carrying(subject)),
            _band_list(hurting(subject)),
        ]
        for subject in subjects
    ]
    return Table("The models in short, with 95 % intervals", heads, rows, frozenset({5, 6}))


def _accuracy_cell(subject: Subject) -> Markup:
    if not subject.labelled:
        return Markup("\N{EM DASH}")
    return Markup('{} <span class="ci">{}</span>').format(*_accuracy(subject))


def _band_list(bands: Sequence[int]) -> str:
    return bands_text(bands).split(" ", 1)[1] if bands else "none"


def bands_section(subjects: Sequence[Subject]) -> Mapping[str, Any]:
    """Contributions beside their distribution, in charts and in numbers."""
    several = len(subjects) > 1
    together = len(subjects) <= COLORS
    return {
        "legend": [key(s.letter, s.name, s.color) for s in subjects]
        if several and together
        else None,
        "many": several,
        "charts": [_chart(name, subjects) for name in ("phi", "psi")] if together else [],
        "own": _own_scales(subjects) if several else None,
        "tables": _tables(subjects),
        "folded": several,
    }


def _bars(subject: Subject, name: str, letter: str) -> Bars:
    archive = subject.archive
    return Bars(
        subject.color % COLORS,
        letter,
        subject.name,
        *(archive[f"{name}{end}"] for end in ("", "_low", "_high")),
    )


_TITLES = {"phi": "phi, contribution in nats", "psi": "psi, share of the contributions"}
_UNITS = {"phi": "nats", "psi": ""}


def _chart(name: str, subjects: Sequence[Subject]) -> Chart:
    several = len(subjects) > 1
    series = [_bars(s, name, s.letter if several else "") for s in subjects]
    said = "; ".join(f"{shortened(s.name, 60)}: {_described(s, name)}" for s in subjects)
    return draw(f"chart-{name}", _TITLES[name], said, _UNITS[name], series)


def _described(subject: Subject, name: str) -> str:
    values = np.where(np.isfinite(subject.archive[name]), subject.archive[name], -math.inf)
    top = int(values.argmax())
    text = f"highest in band {top} with {number(float(subject.archive[name][top]))}"
    hurt = hurting(subject) if name == "phi" else []
    return f"{text}; below zero in {bands_text(hurt)}" if hurt else text


def _own_scales(subjects: Sequence[Subject]) -> list[Chart] | None:
    """A small chart a model, where one chart for all would not show each."""
    sizes = [_size(s) for s in subjects]
    if len(subjects) <= COLORS and max(sizes) <= _UNEQUAL * max(min(sizes), 1e-12):
        return None
    return [
        draw(
            f"chart-own-{i}", f"{s.letter} {shortened(s.name, 60)}", _described(s, "phi"), "nats",
            [_bars(s, "phi", "")], height=130,
        )
        for i, s in enumerate(subjects)
    ]  # fmt: skip


def _size(subject: Subject) -> float:
    phi = np.abs(subject.archive["phi"])
    return float(phi[np.isfinite(phi)].max(initial=0.0))


def _tables(subjects: Sequence[Subject]) -> list[Table]:
    if len(subjects) > 1:
        return [_by_model(subjects, name) for name in ("phi", "psi")]
    (subject,) = subjects
    rows = [
        [
            str(band),
            band_radius(subject.archive, band),
            with_range(subject.archive, "phi", band),
            with_range(subject.archive, "psi", band),
        ]
        for band in range(subject.bands)
    ]
    return [Table("Bands, with 95 % intervals", ["band", "radius", "phi, nats", "psi"], rows)]


def _by_model(subjects: Sequence[Subject], name: str) -> Table:
    heads = ["band", "radius", *(f"{s.letter} {shortened(s.name, 60)}" for s in subjects)]
    rows = [
        [
            str(band),
            band_radius(subjects[0].archive, band),
            *(with_range(s.archive, name, band) for s in subjects),
        ]
        for band in range(subjects[0].bands)
    ]
    return Table(f"{_TITLES[name]}, with 95 % intervals", heads, rows)


def worst_section(subjects: Sequence[Subject]) -> Mapping[str, Any]:
    """The images with the lowest log-probability of their label, by name."""
    return {"tables": [_worst(subject, len(subjects) > 1) for subject in subjects]}


def _worst(subject: Subject, several: bool) -> Table:
    archive = subject.archive
    scores = archive["log_probability_whole"]
    # NaN sorts last, and an edited archive may hold it.
    order = np.argsort(scores, kind="stable")[:_WORST]
    rows = [
        [
            bdi(str(archive["image_id"][row])),
            class_label(subject.classes, int(archive["label"][row])),
            class_label(subject.classes, int(archive["predicted"][row])),
            number(float(scores[row])),
            _lowest_band(archive, int(row)),
        ]
        for row in order
    ]
    title = f"{f'{subject.letter} ' * several}{shortened(subject.name, 60)}"
    return Table(
        f"{title}: the {len(rows)} worst of {subject.images:,} images",
        ["image", "label", "answer", "log p, nats", "band that hurts most"],
        rows, frozenset({1, 2}),
    )  # fmt: skip


def _lowest_band(archive: Archive, row: int) -> str:
    phi = archive["phi_image"][row]
    if not np.isfinite(phi).all() or phi.min() >= 0:
        return "none"
    band = int(phi.argmin())
    return f"{band} ({number(float(phi[band]))})"


def provenance_section(subjects: Sequence[Subject]) -> Mapping[str, Any]:
    """Where the numbers come from, and how to verify that."""
    return {
        "archives": [
            {
                "name": Markup("{} {}").format(s.letter, bdi(s.name)) if len(subjects) > 1
                else bdi(s.name),
                "facts": _provenance(s),
                "notes": [shortened(str(n), _LONGEST_NOTE) for n in s.archive.metadata.notes]
                [:_MOST_NOTES],
            }
            for s in subjects
        ]
    }  # fmt: skip


def _provenance(subject: Subject) -> list[tuple[str, Markup]]:
    meta, recipe = subject.archive.metadata, subject.archive.recipe
    file = shortened(subject.archive.path.name)
    text = {
        "archive": bdi(subject.archive.path.name),
        "digest": meta.digest or "none: an old version of iaside wrote it",
        "verify": Markup("<code>iaside verify {}</code>").format(shlex.quote(file)),
        "model": bdi(meta.model_name),
        "model sha256": meta.model_sha256,
        "precision": meta.precision,
        "images": f"{meta.images_done:,} of {meta.images_asked:,}, {meta.images_failed:,} failed",
        "log p": f"{number(float(subject.archive['log_probability_whole'].mean()))} nats whole, "
        f"{number(float(subject.archive['log_probability_empty'].mean()))} on the baseline alone",
        "bands": f"{recipe.bands} {recipe.spacing}, {recipe.partition}",
        "method": f"{recipe.method}, seed {meta.seed}",
        "baseline": recipe.baseline,
        "range": recipe.pixel_range,
        "runtime": f"{meta.runtime} {meta.runtime_version}, {meta.provider}, {meta.device}",
        "made by": f"iaside {meta.tool_version}, {meta.finished}",
    }
    return [
        (name, fact if isinstance(fact, Markup) else bdi(str(fact))) for name, fact in text.items()
    ]
