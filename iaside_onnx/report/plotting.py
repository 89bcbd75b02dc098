"""Charts with Matplotlib, which is an extra: axes in, axes out.

Nothing here shows a window. Where axes are given, pyplot is not touched. Text from archives is
never taken for a formula of Matplotlib's, and values that are not finite are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.archive import Archive, as_archive
from iaside_onnx.errors import ExtraMissingError, OptionError, install_extra, nearest
from iaside_onnx.report.text import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from iaside_onnx.analysis import ClassResult, Comparison

__all__ = ["plot_bands", "plot_classes", "plot_differences"]

Bounded: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""Values with lower and upper bounds."""

_LABELS = {"phi": "contribution phi, nats", "psi": "share psi"}
_ELSEWHERE = {
    "classes": "plot_classes(by_class(archive))",
    "comparison": "compare(archive, other).plot()",
}
_GROUP_WIDTH, _LONGEST = 0.8, 40
# Beyond this Matplotlib's own arithmetic overflows; no measured value comes near it.
_LARGEST = 1e30


def plot_bands(
    archives: Archive | str | Path | Sequence[Archive | str | Path],
    kind: Literal["phi", "psi"] = "phi",
    ax: Axes | None = None,
) -> Axes:
    """Bars over the bands with their 95 % intervals; several archives side by side.

    Contributions have a sign: the bars of bands that hurt go down.

    Args:
        archives: one archive, or several with the same bands, or their paths.
        kind: ``phi``, the contributions in nats, or ``psi``, the distribution.
        ax: the axes to draw into; by default those of a new figure.

    Returns:
        The axes.

    Raises:
        ArchiveError: if an archive cannot be read.
        OptionError: if the kind is unknown, there is no archive, or they differ in bands.
        ExtraMissingError: if Matplotlib is not installed.
    """
    _check_kind(kind)
    given = [archives] if isinstance(archives, Archive | str | Path) else archives
    opened = [as_archive(one) for one in given]
    _check_bands(opened)
    from iaside_onnx.report.words import short_names

    axes = _axes(ax)
    names = short_names(opened)
    for place, archive in enumerate(opened):
        _bars(axes, (archive[kind], archive[f"{kind}_low"], archive[f"{kind}_high"]),
              place, len(opened))  # fmt: skip
    _finish(axes, _LABELS[kind])
    if len(opened) == 1:
        axes.set_title(shortened(opened[0].metadata.model_name, _LONGEST), parse_math=False)
    else:
        _legend(axes, [shortened(names[archive.path], _LONGEST) for archive in opened])
    return axes


def plot_differences(
    comparison: Comparison, kind: Literal["phi", "psi"] = "phi", ax: Axes | None = None
) -> Axes:
    """Bars of differences over the bands; see `iaside_onnx.Comparison.plot`."""
    _check_kind(kind)
    from iaside_onnx.report.words import short_names

    axes = _axes(ax)
    pairs = comparison.pairs
    names = short_names(comparison.archives)
    for place, pair in enumerate(pairs):
        bounded = [getattr(pair.game, f"{kind}{end}") for end in ("", "_low", "_high")]
        _bars(axes, (bounded[0], bounded[1], bounded[2]), place, len(pairs))
    _finish(axes, f"difference of {_LABELS[kind]}")
    _legend(
        axes,
        [
            f"{shortened(names[pair.archive.path], _LONGEST)} minus "
            f"{shortened(names[pair.reference.path], _LONGEST)}"
            for pair in pairs
        ],
    )
    return axes


def _check_kind(kind: str) -> None:
    """Check what is to be drawn.

    Raises:
        OptionError: if it is unknown.
    """
    if kind not in _LABELS:
        hint = nearest(str(kind), _LABELS, "kinds")
        if str(kind) in _ELSEWHERE:
            hint = f"; {_ELSEWHERE[kind]} draws that, the kinds here are {', '.join(_LABELS)}"
        raise OptionError(f"unknown kind {kind!r}{hint}")


def _finish(axes: Axes, label: str) -> None:
    axes.axhline(0, color="0.5", linewidth=0.8, zorder=0)
    axes.set_xlabel("band, low to high frequency")
    axes.set_ylabel(label)
    _whole_numbers(axes)


def _check_bands(archives: Sequence[Archive]) -> None:
    """Make sure that bars beside each other are about the same frequencies.

    Raises:
        OptionError: if they are not, or there are none.
    """
    if not archives:
        raise OptionError("a chart takes at least one archive")
    first = archives[0]
    game = (first.bands, first.recipe.partition, first.recipe.spacing)
    for archive in archives[1:]:
        if (archive.bands, archive.recipe.partition, archive.recipe.spacing) != game:
            raise OptionError(
                f"{archive.path}: has other bands than {first.path}; plot archives with the same "
                "number of bands, partition and spacing"
            )


def _axes(ax: Axes | None) -> Axes:
    """The axes that were given, or those of a new figure.

    Raises:
        ExtraMissingError: if Matplotlib is not installed.
    """
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ExtraMissingError(
            f"charts need Matplotlib ({error}): {install_extra('plot')}"
        ) from error
    return pyplot.subplots(layout="constrained")[1]


def _bars(axes: Axes, bounded: Bounded, place: int, groups: int) -> None:
    """Bars of one archive, at its place in the group of each band."""
    value, low, high = (_drawable(values) for values in bounded)
    width = _GROUP_WIDTH / groups
    x = np.arange(value.size) + (place - (groups - 1) / 2) * width
    axes.bar(x, value, width, color=f"C{place}")
    # Not by errorbar, which takes no bounds that an edited archive has on the wrong side.
    axes.vlines(x, low, high, color=axes.xaxis.label.get_color(), linewidth=1.2)


def _drawable(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values that Matplotlib can draw, all others NaN, which it leaves out."""
    return np.where(np.abs(values) < _LARGEST, values, np.nan)


def _whole_numbers(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=16, integer=True))


def _legend(axes: Axes, names: Sequence[str]) -> None:
    bars: Sequence[Any] = axes.containers
    # Matplotlib leaves out what begins with an underscore, so names are set afterwards.
    legend = axes.legend(bars, [str(place) for place in range(len(names))])
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)
        text.set_parse_math(False)


def plot_classes(classes: Sequence[ClassResult], ax: Axes | None = None) -> Axes:
    """Accuracy of each class with its interval and its number of images, the first on top.

    Args:
        classes: from `iaside_onnx.by_class`, the most fragile first, or some of these.
        ax: the axes to draw into; by default those of a new figure.

    Returns:
        The axes.

    Raises:
        OptionError: if these are no classes, there is none, or no accuracy, as labels are the
            model's own answers.
        ExtraMissingError: if Matplotlib is not installed.
    """
    _check_classes(classes)
    if not classes:
        raise OptionError("a chart of classes takes at least one class")
    shares = [one.accuracy for one in classes if one.accuracy is not None]
    if len(shares) < len(classes):
        raise OptionError(
            "labels are the model's own answers: there is no accuracy to plot; give classes of an "
            "archive with true labels"
        )
    axes = _axes(ax)
    rows = np.arange(len(classes))
    value, low, high = np.array([(one.value, one.low, one.high) for one in shares]).T
    axes.hlines(rows, low, high, color="0.5", linewidth=1.2)
    axes.plot(value, rows, "o", color="C0")
    axes.set_yticks(rows, [f"{_class_name(one)} ({one.images})" for one in classes])
    for text in axes.get_yticklabels():
        text.set_parse_math(False)
    axes.invert_yaxis()
    axes.set_xlabel("accuracy on whole images")
    return axes


def _check_classes(classes: object) -> None:
    """Check that classes are not what they are made from.

    Raises:
        OptionError: if they are an archive or a path.
    """
    if isinstance(classes, Archive | str | Path):
        raise OptionError(
            "a chart of classes takes what `by_class` gives, not an archive: "
            "plot_classes(by_class(archive))"
        )


def _class_name(one: ClassResult) -> str:
    return str(one.index) if one.name is None else shortened(one.name, _LONGEST)
