"""Inputs that are no four axes: images that a model takes flat, without channels or batch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from iaside_onnx.errors import ModelError
from iaside_onnx.types import Layout

__all__ = ["Axes", "FoundAxes", "find_axes", "is_flat", "shape_of"]

Axes: TypeAlias = tuple[str, ...]
"""What is along each axis of an input: N, C, H, W, several of C, H and W in their order in memory
(``CHW``), or 1. Without N the model takes one image."""

_ORDERS: tuple[tuple[str, Layout], ...] = (("CHW", "NCHW"), ("HWC", "NHWC"))
_CHANNELS = (1, 3)
# No image has fewer rows or columns; an axis of 3 holds channels.
_LEAST = 4


class FoundAxes(NamedTuple):
    """How a model takes images.

    Attributes:
        axes: what is along each axis of its input.
        layout: order of channels, rows and columns in memory.
        channels: 1 or 3.
        height: rows; None if dynamic.
        width: columns; None if dynamic.
        batch: images per call; None if dynamic.
        note: how that was found, where it is a guess; else empty.
    """

    axes: Axes
    layout: Layout
    channels: int
    height: int | None
    width: int | None
    batch: int | None
    note: str

    @property
    def extents(self) -> tuple[int, int | None, int | None, int | None]:
        """Channels, height, width and batch."""
        return self.channels, self.height, self.width, self.batch


def is_flat(dims: Sequence[int | None], size: tuple[int, int, int] | None) -> bool:
    """Whether four axes are those of a list of numbers, such as ``(N, 784, 1, 1)``."""
    extents = [d for d in dims[1:] if d != 1]
    if len(dims) != 4 or len(extents) != 1:
        return False
    if size is None:
        return extents[0] is not None
    return extents[0] == math.prod(size) and 1 not in size[1:]


def shape_of(axes: Axes, images: int, size: tuple[int, int, int]) -> tuple[int, ...]:
    """The shape of an input.

    Args:
        axes: what is along each axis.
        images: number of images.
        size: channels, height and width.
    """
    extents = dict(zip("NCHW1", (images, *size, 1), strict=True))
    return tuple(math.prod(extents[letter] for letter in axis) for axis in axes)


def find_axes(
    dims: Sequence[int | None],
    size: tuple[int, int, int] | None,
    layout: Layout | None,
    where: str,
) -> FoundAxes:
    """Find out what is along each axis of an input that is not one of four axes.

    Args:
        dims: extent of each axis; None where it is dynamic.
        size: channels, height and width, if known.
        layout: order of channels, rows and columns, if known; matters for colour images only.
        where: the input with its shape, for messages.

    Raises:
        ModelError: if no images fit, or images of several sizes or orders do.
    """
    fits: dict[tuple[object, ...], FoundAxes] = {}
    for axes, order in _candidates(len(dims)):
        one = _fit(axes, order, dims, size)
        if one is None or (layout not in (None, order) and one.channels == 3):
            continue
        # Two readings of one memory are one.
        fits.setdefault((*one.extents, one.layout if one.channels == 3 else ""), one)
    found = list(fits.values())
    if size is None and len(dims) == 2 and dims[0] != dims[1] and len(found) > 1:
        # Many numbers for each of some images, rather than one image.
        found = [one for one in found if "N" in one.axes]
    if not found:
        raise ModelError(f"{where}, which fits no image{_expected(dims, size)}")
    if len(found) > 1:
        raise ModelError(f"{where}, {_question(found)}")
    return found[0]


def _question(found: list[FoundAxes]) -> str:
    """What the user must say, where several readings fit."""
    if len({one.extents for one in found}) == 1:
        return (
            "and nothing says in which order it has channels, rows and columns: give "
            "`input_layout=`, NCHW (channels first) or NHWC (channels last)"
        )
    readings = (f"{one.channels},{one.height or 'H'},{one.width or 'W'}" for one in found)
    return (
        f"which may be images of {' or '.join(dict.fromkeys(readings))}: say which by "
        "`input_size=(C, H, W)`"
    )


def _candidates(rank: int) -> list[tuple[Axes, Layout]]:
    """What the axes of an input of this rank may be."""
    if rank == 4:
        flat = [(order, layout, place) for order, layout in _ORDERS for place in range(3)]
        return [
            (("N", *("1" * place), order, *("1" * (2 - place))), layout)
            for order, layout, place in flat
        ]
    found: list[tuple[Axes, Layout]] = []
    if rank == 3:
        found.append((("N", "H", "W"), "NCHW"))
    for order, layout in _ORDERS:
        if rank == 1:
            found.append(((order,), layout))
        if rank == 2:
            found.append((("N", order), layout))
        if rank == 3:
            found += [(("N", order, "1"), layout), (("N", "1", order), layout)]
            found.append((tuple(order), layout))
    if rank == 2:
        found.append((("H", "W"), "NCHW"))
    return found


def _fit(
    axes: Axes, layout: Layout, dims: Sequence[int | None], size: tuple[int, int, int] | None
) -> FoundAxes | None:
    """The images that fit this reading of the axes; None if there are none."""
    if "N" not in axes and len(axes) > 1 and dims[0] is None:
        # A dynamic first axis is the batch.
        return None
    if any(axis == "1" and extent != 1 for axis, extent in zip(axes, dims, strict=True)):
        return None
    batch = dims[axes.index("N")] if "N" in axes else 1
    flat = [extent for axis, extent in zip(axes, dims, strict=True) if len(axis) == 3]
    if flat and size is None:
        side = _square(flat[0])
        note = (
            f"input: its {flat[0]} numbers are read as a grey image of {side} x {side}; give "
            "`input_size=(C, H, W)` if they are another"
        )
        return None if side is None else FoundAxes(axes, layout, 1, side, side, batch, note)
    if flat and size is not None:
        fits = flat[0] in (None, math.prod(size))
        return FoundAxes(axes, layout, *size, batch, "") if fits else None
    # An axis of its own for rows and columns, and for channels if there are several.
    named = dict(zip(axes, dims, strict=True))
    extents = [named.get("C", 1), named["H"], named["W"]]
    if size is None:
        channels, *sides = extents
        if channels not in _CHANNELS or any(side and side < _LEAST for side in sides):
            return None
        return FoundAxes(axes, layout, channels or 1, sides[0], sides[1], batch, "")
    if any(extent not in (None, known) for extent, known in zip(extents, size, strict=True)):
        return None
    return FoundAxes(axes, layout, *size, batch, "")


def _square(count: int | None) -> int | None:
    """The side of a grey square image of so many pixels; None if there is none."""
    side = math.isqrt(count or 0)
    return side if side >= _LEAST and side * side == count else None


def _expected(dims: Sequence[int | None], size: tuple[int, int, int] | None) -> str:
    if size is not None:
        return f" of (channels, height, width) {size}; correct `input_size=` or the spec"
    if len(dims) > 4:
        return "; wrap the model so that it takes (batch, channels, height, width)"
    for extent in itertools.chain(dims[1:], dims[:1]):
        side = _square(extent // 3) if extent is not None and extent % 3 == 0 else None
        if side is not None:
            return (
                " by itself; if it takes colour images, give "
                f"`input_size=(3, {side}, {side})` and `input_layout=`"
            )
    return " by itself; give `input_size=(C, H, W)`, such as 1,28,28"
