"""From components to the filtered images of many coalitions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from iaside_onnx.spectrum.parallel import ParallelFor, serial_for
from iaside_onnx.types import Coalitions, PixelRange

__all__ = ["MixOrder", "limit_range", "mix", "mix_order"]

MixOrder: TypeAlias = Literal["tree", "chain"]
"""What `mix` makes an image from: ``tree``, the same coalition without its lowest bands; ``chain``,
the coalition before it in the list, if that is the same one without one band."""

_PIECE = 1 << 13
"""Pixels: those of a few dozen images and of all components together fit into a core's cache."""

_FLAT = 1e-5
"""A lesser span, in pixel units, is rounding of the transforms and no picture."""


def mix_order(coalitions: Coalitions) -> MixOrder:
    """The order in which `mix` makes all images of a list of coalitions.

    Consecutive numbers (c, c + 1, c + 2, ...) are made as a tree, any other list as a chain. For
    consecutive numbers both give the same bits, and the tree needs fewer calls.

    Args:
        coalitions: ``(n,)`` bit masks, the whole list, however it is cut into batches.
    """
    return "tree" if (np.diff(coalitions) == 1).all() else "chain"


def mix(
    offset: Any,
    components: Any,
    coalitions: Coalitions,
    out: Any,
    xp: Any = np,
    known: dict[int, Any] | None = None,
    parallel_for: ParallelFor = serial_for,
    *,
    order: MixOrder | None = None,
) -> None:
    """Write the image of each coalition: the offset plus the components that are present.

    Nearly every image is another one plus one component: one addition an image, and in a tree one
    call for half of the rows of a run of consecutive coalitions. This needs no matrix product,
    whose threads would spin on the cores that the model needs.

    The result is the same bit for bit wherever the list is cut into batches, and with NumPy and
    CuPy alike. In a tree, components are always added highest band first, so an image does not
    depend on the list at all. In a chain, it depends on the list by rounding.

    Args:
        offset: the image with no band present, ``(...)`` float32.
        components: what each band adds, ``(bands, ...)`` float32.
        coalitions: ``(n,)`` bit masks, always NumPy's: a batch of the list.
        out: ``(n, ...)`` float32, overwritten.
        xp: the array module that the images belong to, NumPy or CuPy.
        known: images of the same offset and components by coalition, from the batch before;
            updated to those that the next batch is made from.
        parallel_for: runs the work on pieces of the images, on threads if it has any.
        order: from `mix_order` of the whole list; None if the list is in one batch.
    """
    if not coalitions.size:
        return
    masks = np.ascontiguousarray(coalitions, np.uint64).tobytes()
    plan = _steps if (order or mix_order(coalitions)) == "tree" else _chain
    steps, wanted = plan(masks, tuple(known or ()))
    pixels = math.prod(offset.shape)
    # On a CPU, large images are processed piece by piece, so that components stay in its cache.
    piece = _PIECE if xp is np and out.flags.c_contiguous else pixels
    flat_out, flat_components = out.reshape(len(out), -1), components.reshape(len(components), -1)
    images = {0: offset, **(known or {})}
    flat_images = {coalition: image.reshape(-1) for coalition, image in images.items()}

    def work(start: int) -> None:
        here = slice(start, start + piece)
        parents = {coalition: image[here] for coalition, image in flat_images.items()}
        _follow(steps, parents, flat_components[:, here], flat_out[:, here], xp)

    parallel_for(work, range(0, pixels, piece))
    if known is not None:
        for coalition in set(known) - {coalition for coalition, _ in wanted}:
            del known[coalition]
        for coalition, row in wanted:
            if row is not None:
                known[coalition] = out[row].copy()


def _follow(
    steps: list[_Step], parents: dict[int, Any], components: Any, out: Any, xp: Any
) -> None:
    for row, size, source, parent, bands in steps:
        image = parents[parent] if source is None else out[source]
        if bands:
            xp.add(image, components[bands[0]], out=out[row])
        else:
            out[row] = image
        for band in bands[1:]:
            out[row] += components[band]
        step = 1 << (size - 1).bit_length() >> 1
        while step:
            # Rows with no lower band are there already; each gives the row with this band as well.
            target = out[row + step : row + size : 2 * step]
            above = out[row : row + size : 2 * step][: len(target)]
            xp.add(above, components[step.bit_length() - 1], out=target)
            step //= 2


class _Step(NamedTuple):
    """How to make a run of consecutive coalitions, of which the first lacks all lower bands."""

    row: int
    size: int
    source: int | None  # row of the image to begin from; None: not in this batch
    parent: int  # coalition of the image to begin from; 0 is the offset
    bands: tuple[int, ...]  # to add to it, highest first


@lru_cache(maxsize=1024)
def _steps(
    masks: bytes, known: tuple[int, ...]
) -> tuple[list[_Step], list[tuple[int, int | None]]]:
    """How to make a batch, and which images to keep for the next: coalition and row, if it is new.

    Images come one after the other over the same coalitions, so that batches recur.
    """
    coalitions = np.frombuffer(masks, dtype=np.uint64).tolist()
    rows: dict[int, int] = {}
    steps = []
    row = 0
    while row < len(coalitions):
        coalition = coalitions[row]
        lowest = coalition & -coalition or len(coalitions)
        size = 1
        while size < lowest and coalitions[row + size : row + size + 1] == [coalition + size]:
            size += 1
        parent = next(c for c in _parents(coalition) if c in rows or c in known or c == 0)
        bits = coalition ^ parent
        bands = tuple(b for b in range(bits.bit_length() - 1, -1, -1) if bits >> b & 1)
        steps.append(_Step(row, size, rows.get(parent), parent, bands))
        rows.update(zip(coalitions[row : row + size], range(row, row + size), strict=True))
        row += size
    after = _parents(coalitions[-1] + 1)
    wanted = [c for c in after if c and (c in known or c in rows)]
    return steps, [(c, None if c in known else rows[c]) for c in wanted]


@lru_cache(maxsize=64)
def _chain(
    masks: bytes, known: tuple[int, ...]
) -> tuple[list[_Step], list[tuple[int, int | None]]]:
    """As `_steps`, where each coalition is mostly the one before it and one band more."""
    coalitions = np.frombuffer(masks, dtype=np.uint64).tolist()
    previous, source = (known[-1] if known else 0), None
    steps = []
    for row, coalition in enumerate(coalitions):
        added = coalition ^ previous
        if not added & coalition or added & (added - 1):
            previous, source, added = 0, None, coalition
        bands = tuple(b for b in range(added.bit_length() - 1, -1, -1) if added >> b & 1)
        steps.append(_Step(row, 1, source, previous, bands))
        previous, source = coalition, row
    return steps, [(previous, source)]


def _parents(coalition: int) -> Iterator[int]:
    """The coalition without its lowest band, without its two lowest, and so on down to none."""
    while coalition:
        coalition &= coalition - 1
        yield coalition
    yield 0


def limit_range(images: Any, kind: PixelRange, xp: Any = np) -> None:
    """Bring filtered images, ``(n, ...)`` in pixel units, back into [0, 1], in place.

    Args:
        images: the filtered images of one or more coalitions.
        kind: ``none``, left as they are; ``clip``, cut at 0 and 1; ``minmax``, each image stretched
            so that its own smallest value becomes 0 and its largest 1; an image that is constant
            but for rounding is clipped.
        xp: the array module that the images belong to, NumPy or CuPy.
    """
    if kind == "minmax":
        axes = tuple(range(1, images.ndim))
        low = images.min(axis=axes, keepdims=True)
        span = images.max(axis=axes, keepdims=True) - low
        flat = span < _FLAT
        images -= xp.where(flat, xp.float32(0), low)
        images /= xp.where(flat, xp.float32(1), span)
    if kind != "none":
        xp.clip(images, 0.0, 1.0, out=images)
