"""Which band each spatial frequency belongs to.

All arithmetic is on exact integers: a frequency on the edge between two bands is in the same band
on every machine, and f and -f are always in the same band.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.errors import OptionError
from iaside_onnx.types import PARTITIONS, SPACINGS, BandIndex, Partition, Spacing

__all__ = ["MAX_BANDS", "band_edges", "band_index"]

MAX_BANDS = 64
"""Coalitions are 64-bit masks."""


def band_edges(bands: int, spacing: Spacing = "linear") -> NDArray[np.float64]:
    """Edges of the bands in radius, ``(bands + 1,)``, from 0 to 1.

    Band i holds the radii from edge i, included, to edge i + 1, excluded; the last band includes 1.

    Args:
        bands: number of bands, from 1 to 64.
        spacing: ``linear``, bands of equal width; ``octave``, each band above the lowest two is
            twice as wide as the band below it.

    Raises:
        OptionError: if an option is out of range.
    """
    _check(bands, "linf", spacing)
    if spacing == "linear":
        return np.arange(bands + 1) / bands
    return np.concatenate([[0.0], 2.0 ** np.arange(1 - bands, 1)])


def band_index(
    height: int,
    width: int,
    bands: int,
    partition: Partition = "linf",
    spacing: Spacing = "linear",
) -> BandIndex:
    """The band of every frequency of a real 2-D FFT, ``(height, width // 2 + 1)``.

    The radius of a frequency (fy, fx) in cycles a pixel is, in [0, 1]: linf
    ``max(|fy|, |fx|) / 0.5``; l2 ``hypot(fy, fx) / hypot(0.5, 0.5)``; l1 ``|fy| + |fx|``.

    Args:
        height: rows of the image.
        width: columns of the image.
        bands: number of bands, from 1 to 64; band 0 holds the mean of the image.
        partition: the norm of the radius.
        spacing: how the radius is divided, see `band_edges`.

    Raises:
        OptionError: if an option is out of range, or a band would hold no frequency.
    """
    _check(bands, partition, spacing)
    if height < 1 or width < 1:
        raise OptionError(f"an image of {height} x {width} pixels has no frequencies")
    if spacing == "linear":
        index = np.minimum(_scaled_radius(height, width, bands, partition), bands - 1)
    else:
        # In units of the lowest edge, the band is the bit length of the radius.
        units = _scaled_radius(height, width, 1 << (bands - 1), partition)
        bits = np.array(np.frompyfunc(int.bit_length, 1, 1)(units.astype(object)), dtype=np.int64)
        index = np.minimum(bits, bands - 1)
    empty = sorted(set(range(bands)) - set(np.unique(index).tolist()))
    if empty:
        raise OptionError(
            f"{bands} {spacing} bands are too many for images of {height} x {width} pixels: "
            f"band{'s' if len(empty) > 1 else ''} {', '.join(map(str, empty))} would hold no "
            "frequency; take fewer bands" + (" or linear spacing" if spacing == "octave" else "")
        )
    return index


def _check(bands: int, partition: str, spacing: str) -> None:
    if isinstance(bands, bool) or not isinstance(bands, int | np.integer):
        raise OptionError(f"the number of bands must be a whole number, not {bands!r}")
    if not 1 <= bands <= MAX_BANDS:
        raise OptionError(f"the number of bands must be from 1 to {MAX_BANDS}, not {bands}")
    if partition not in PARTITIONS:
        raise OptionError(f"unknown partition {partition!r}: choose from {', '.join(PARTITIONS)}")
    if spacing not in SPACINGS:
        raise OptionError(f"unknown spacing {spacing!r}: choose from {', '.join(SPACINGS)}")


def _scaled_radius(height: int, width: int, scale: int, partition: str) -> NDArray[np.int64]:
    """``floor(scale * radius)`` of every frequency, in exact arithmetic.

    With integers ky, kx in cycles per image, fy = ky / height and fx = kx / width.
    """
    rows = np.arange(height)
    # Python integers: the l2 products overflow 64 bits for large images and many octaves.
    ky = np.minimum(rows, height - rows).astype(object)[:, None]
    kx = np.arange(width // 2 + 1).astype(object)[None, :]
    if partition == "linf":
        scaled = np.maximum(2 * scale * ky // height, 2 * scale * kx // width)
    elif partition == "l1":
        scaled = scale * (ky * width + kx * height) // (height * width)
    else:
        square = 2 * scale**2 * ((ky * width) ** 2 + (kx * height) ** 2) // (height * width) ** 2
        scaled = np.frompyfunc(math.isqrt, 1, 1)(square)
    return np.asarray(scaled, dtype=np.int64)
