"""The page as text: its sections in their order, made with Jinja2."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from markupsafe import Markup

from iaside_onnx.images import ImagesLike
from iaside_onnx.report.classes import classes_section
from iaside_onnx.report.compared import comparison_section
from iaside_onnx.report.heat import interactions_section
from iaside_onnx.report.marking import bdi, listed
from iaside_onnx.report.meaning import SIS_MEANING
from iaside_onnx.report.pairs import Pairs
from iaside_onnx.report.pictures import pictures_section
from iaside_onnx.report.sections import (
    answer_section,
    bands_section,
    provenance_section,
    worst_section,
)
from iaside_onnx.report.subjects import Subject
from iaside_onnx.report.templating import environment
from iaside_onnx.report.text import shortened
from iaside_onnx.version import __version__

__all__ = ["render"]

SectionMaker: TypeAlias = Callable[
    [Sequence[Subject], "ImagesLike | None", Pairs], "Mapping[str, Any] | None"
]
_TITLE = 100


@dataclass(frozen=True, slots=True)
class _Part:
    """A section of the page.

    Attributes:
        anchor: its id in the page, and the name of its template.
        title: its heading.
        context: what the template needs, as ``it``.
    """

    anchor: str
    title: str
    context: Mapping[str, Any]

    @property
    def template(self) -> str:
        return f"{self.anchor}.jinja"


# In the order of the page. A section whose function gives None is left out.
_SECTIONS: tuple[tuple[str, str, SectionMaker], ...] = (
    ("answer", "In short", lambda subjects, _, pairs: answer_section(subjects, pairs)),
    ("bands", "Bands", lambda subjects, *_: bands_section(subjects)),
    (
        "pictures",
        "What bands look like",
        lambda subjects, images, _: pictures_section(subjects, images),
    ),
    # What perturbations do to the models goes here, once there are archives of them.
    ("classes", "Classes", lambda subjects, _, pairs: classes_section(subjects, pairs)),
    ("interactions", "Pairs of bands", lambda subjects, *_: interactions_section(subjects)),
    ("comparison", "Comparison", lambda subjects, _, pairs: comparison_section(subjects, pairs)),
    ("worst", "Worst images", lambda subjects, *_: worst_section(subjects)),
    ("provenance", "Provenance", lambda subjects, *_: provenance_section(subjects)),
    ("words", "Words and limits", lambda *_: {"meaning": SIS_MEANING}),
)


def render(subjects: Sequence[Subject], sign: str, images: ImagesLike | None) -> str:
    """The page as text.

    Args:
        subjects: what the page is about.
        sign: the element by which a page of ours is known.
        images: where the images are; None shows none.

    Raises:
        ImageError: if the images cannot be used.
    """
    style = (Path(__file__).parent / "templates" / "style.css").read_text(encoding="utf-8")
    pairs = Pairs(subjects)
    parts = [
        _Part(anchor, title, context)
        for anchor, title, make in _SECTIONS
        if (context := make(subjects, images, pairs)) is not None
    ]
    return (
        environment()
        .get_template("page.jinja")
        .render(
            # Neither holds text from outside.
            sign=Markup(sign),  # noqa: S704
            style=Markup(style),  # noqa: S704
            policy=_policy(style),
            title=_title(subjects),
            heading=_heading(subjects),
            parts=parts,
            count=len(subjects),
            version=__version__,
        )
    )


def _policy(style: str) -> str:
    """Nothing is loaded, and nothing but this very style sheet and embedded images is used."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def _title(subjects: Sequence[Subject]) -> str:
    names = ", ".join(shortened(subject.name, 40) for subject in subjects)
    return f"{shortened(names, _TITLE)}: spectral importance"


def _heading(subjects: Sequence[Subject]) -> Markup:
    if len(subjects) == 1:
        return bdi(subjects[0].name)
    if len(subjects) <= 3:
        return listed(subject.name for subject in subjects)
    return Markup("{} models compared").format(len(subjects))
