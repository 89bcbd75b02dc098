"""Names from outside as parts of HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from markupsafe import Markup

from iaside_onnx.report.chart import COLORS
from iaside_onnx.report.text import shortened

__all__ = ["bdi", "class_label", "key", "listed"]


def bdi(text: str) -> Markup:
    """A name, escaped, whose direction of writing does not reach what is beside it."""
    return Markup("<bdi>{}</bdi>").format(shortened(text))


def listed(names: Iterable[str]) -> Markup:
    """Names as ``a``, ``a and b``, or ``a, b and c``."""
    *before, last = map(bdi, names)
    return Markup("{} and {}").format(Markup(", ").join(before), last) if before else last


def key(letter: str, name: str, color: int) -> Markup:
    """Colour, letter and name of a model, as in the key of a chart."""
    swatch = (
        Markup('<svg class="c{}" aria-hidden="true"><rect width="100%" height="100%"/></svg>')
        .format(color)
        if color < COLORS
        else Markup("")
    )  # fmt: skip
    return Markup('<span class="key">{}<span class="letter">{}</span> {}</span>').format(
        swatch, letter, bdi(name)
    )


def class_label(names: Mapping[int, str], index: int) -> Markup:
    """A class by its name and index, or by its index alone."""
    name = names.get(index)
    return Markup("{}").format(index) if name is None else Markup("{} {}").format(index, bdi(name))
