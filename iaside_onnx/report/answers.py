"""The answer of a page in words, and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from iaside_onnx.report.findings import (
    accuracy,
    carrying,
    hurting,
    undecided,
)
from iaside_onnx.report.marking import bdi
from iaside_onnx.report.meaning import more_images
from iaside_onnx.report.pairs import Pairs
from iaside_onnx.report.ranking import open_questions, ranking
from iaside_onnx.report.subjects import Subject
from iaside_onnx.report.text import number, percent, with_minus
from iaside_onnx.report.words import bands_text

__all__ = ["answer", "cautions"]


def answer(subjects: Sequence[Subject], pairs: Pairs) -> list[Markup]:
    """The answer in two sentences, or one more for each further baseline."""
    if len(subjects) == 1:
        return [_right(subjects[0]), _bands_of(subjects[0])]
    return ranking(subjects, pairs)


def cautions(subjects: Sequence[Subject], pairs: Pairs) -> list[Markup]:
    """How sure the answer is, and what it depends on."""
    if len(subjects) > 1:
        return open_questions(subjects, pairs)
    return [
        _sure(subjects[0]),
        Markup(
            "SIS depends on the baseline, here {}: compare it only with models that were "
            "decomposed with the same bands, baseline, labels and images."
        ).format(subjects[0].baseline),
    ]


def _right(subject: Subject) -> Markup:
    n = f"{subject.images:,} image{'s' * (subject.images != 1)}"
    if not subject.labelled:
        return Markup(
            "This is about the answers that {} gives to {}, not about whether they are right."
        ).format(bdi(subject.name), n)
    found = accuracy(subject)
    return Markup("{} gives the right class to {} of {} (95 % interval {} to {}).").format(
        bdi(subject.name), percent(found.value), n, number(100 * found.low, 1), percent(found.high)
    )


def _bands_of(subject: Subject) -> Markup:
    archive = subject.archive
    phi, bands, hurt = archive["phi"], carrying(subject), hurting(subject)
    if archive.metadata.uniform:
        return Markup("All bands contribute the same, so it leans on none of them.")
    if not bands:
        return Markup("No band helps it for certain{}.").format(
            f", and {bands_text(hurt)} hurt{'s' * (len(hurt) == 1)}" if hurt else ""
        )
    what = "of log-probability of the right class" if subject.labelled else "of log-probability"
    text = (
        f"{bands_text(bands).capitalize()} {_radius(subject, bands)}"
        f"carr{'ies' if len(bands) == 1 else 'y'} it, with {number(float(phi[bands].sum()), 2)} "
        f"nats {what}"
    )
    if hurt:
        taken = number(-float(phi[hurt].sum()), 2)
        text += (
            f"; {bands_text(hurt)} hurt{'s' * (len(hurt) == 1)}, and take{'s' * (len(hurt) == 1)} "
            f"{taken} nats away"
        )
    elif not undecided(subject):
        text += "; no band hurts"
    return Markup("{}.").format(text)


def _radius(subject: Subject, bands: list[int]) -> str:
    """The radii of bands that lie side by side, with a space behind."""
    if bands[-1] - bands[0] != len(bands) - 1:
        return ""
    low, high = subject.archive["band_low"][bands[0]], subject.archive["band_high"][bands[-1]]
    return f"(radius {number(float(low))} to {number(float(high))}) "


def _sure(subject: Subject) -> Markup:
    open_bands = undecided(subject)
    if subject.images == 1:
        return Markup("One image has no intervals: nothing here is certain. Take more images.")
    signs = (
        "Whether a band helps or hurts is certain for all of them, by its 95 % interval"
        if not open_bands
        else f"Whether {bands_text(open_bands)} help{'s' * (len(open_bands) == 1)} or hurt"
        f"{'s' * (len(open_bands) == 1)} is open"
    )
    wide = more_images(subject.archive)
    return Markup("{}.{}").format(signs, f" {with_minus(wide)}." if wide else "")
