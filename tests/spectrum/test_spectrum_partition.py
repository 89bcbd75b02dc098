"""The band of each frequency: by hand, and against exact fractions."""

from __future__ import annotations

from fractions import Fraction
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from iaside_onnx import band_edges, band_index
from iaside_onnx.errors import OptionError
from iaside_onnx.types import Partition, Spacing

SIZES = [(1, 1), (1, 6), (5, 1), (2, 2), (3, 4), (8, 8), (7, 7), (9, 14), (16, 11), (17, 17),
         (12, 16), (17, 2), (15, 10), (13, 6)]  # fmt: skip


def whole_plane(index: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Every frequency of the full FFT, ``(H, W)``: the half that is omitted mirrors the other."""
    height = index.shape[0]
    plane = np.empty((height, width), dtype=np.int64)
    for ky in range(height):
        for kx in range(width):
            mirrored = kx > width // 2
            plane[ky, kx] = index[-ky % height, width - kx] if mirrored else index[ky, kx]
    return plane


def squared_radius(ky: int, kx: int, height: int, width: int, partition: str) -> Fraction:
    """The square of the radius in [0, 1], as a fraction."""
    fy = Fraction(min(ky, height - ky), height)
    fx = Fraction(min(kx, width - kx), width)
    if partition == "linf":
        return (max(fy, fx) * 2) ** 2
    if partition == "l1":
        return (fy + fx) ** 2
    return (fy**2 + fx**2) * 2


def expected(height: int, width: int, edges: list[Fraction], partition: str) -> NDArray[np.int64]:
    """Band of each frequency of the full plane: how many inner edges lie at or below it."""
    plane = np.empty((height, width), dtype=np.int64)
    for ky in range(height):
        for kx in range(width):
            square = squared_radius(ky, kx, height, width, partition)
            plane[ky, kx] = sum(square >= edge**2 for edge in edges)
    return plane


def inner_edges(bands: int, spacing: str) -> list[Fraction]:
    if spacing == "linear":
        return [Fraction(i, bands) for i in range(1, bands)]
    return [Fraction(1, 2**i) for i in range(bands - 1, 0, -1)]


@pytest.mark.parametrize("partition", get_args(Partition))
@pytest.mark.parametrize("spacing", get_args(Spacing))
def test_bands_against_fractions(partition: Partition, spacing: Spacing) -> None:
    """A frequency on an edge, or at an odd size, would land in the wrong band."""
    compared = 0
    for height, width in SIZES:
        for bands in (1, 2, 3, 4, 5, 7, 8):
            wanted = expected(height, width, inner_edges(bands, spacing), partition)
            if set(wanted.flat) != set(range(bands)):
                with pytest.raises(OptionError, match="would hold no frequency"):
                    band_index(height, width, bands, partition, spacing)
                continue
            index = band_index(height, width, bands, partition, spacing)
            assert index.shape == (height, width // 2 + 1)
            np.testing.assert_array_equal(
                whole_plane(index, width), wanted, err_msg=f"{height} x {width}, {bands} bands"
            )
            compared += 1
    assert compared > 30


@pytest.mark.parametrize("partition", get_args(Partition))
@pytest.mark.parametrize("size", [(8, 8), (9, 14), (11, 5), (16, 7)])
def test_f_and_minus_f_lie_together(partition: Partition, size: tuple[int, int]) -> None:
    """Filtered images would not be real; the reference code's masks fail this at even sizes."""
    height, width = size
    plane = whole_plane(band_index(height, width, 4, partition), width)
    opposite = plane[-np.arange(height) % height][:, -np.arange(width) % width]
    np.testing.assert_array_equal(plane, opposite)


def test_8_by_8_by_hand() -> None:
    """With four bands in linf, |k| = 0, 1, 2, 3, 4 lie at radius 0, 1/4, 1/2, 3/4 and 1."""
    one = [
        [0, 1, 2, 3, 3],
        [1, 1, 2, 3, 3],
        [2, 2, 2, 3, 3],
        [3, 3, 3, 3, 3],
        [3, 3, 3, 3, 3],
        [3, 3, 3, 3, 3],
        [2, 2, 2, 3, 3],
        [1, 1, 2, 3, 3],
    ]
    assert band_index(8, 8, 4).tolist() == one
    # l1: (|ky| + |kx|) / 8; the corner, 1, belongs to the last band.
    assert band_index(8, 8, 4, "l1")[:5].tolist() == [
        [0, 0, 1, 1, 2],
        [0, 1, 1, 2, 2],
        [1, 1, 2, 2, 3],
        [1, 2, 2, 3, 3],
        [2, 2, 3, 3, 3],
    ]
    # l2: sqrt(ky^2 + kx^2) / sqrt(32); (4, 0) is at 0.707, (2, 2) at 1/2 exactly, (4, 4) at 1.
    assert band_index(8, 8, 4, "l2")[:5].tolist() == [
        [0, 0, 1, 2, 2],
        [0, 1, 1, 2, 2],
        [1, 1, 2, 2, 3],
        [2, 2, 2, 3, 3],
        [2, 2, 3, 3, 3],
    ]
    # Octaves from 1/4 on: up to 1/4, 1/4 to 1/2, from 1/2.
    assert band_index(8, 8, 3, "linf", "octave")[0].tolist() == [0, 1, 2, 2, 2]


def test_large_images_and_many_bands_do_not_overflow() -> None:
    """In 64 bits the products of l2 wrap around, and frequencies land anywhere."""
    height, width, bands = 4001, 400, 13
    index = band_index(height, width, bands, "l2", "octave")
    edges = [edge**2 for edge in inner_edges(bands, "octave")]
    rng = np.random.default_rng(0)
    places = zip(rng.integers(0, height, 200), rng.integers(0, width // 2 + 1, 200), strict=True)
    for ky, kx in [(height // 2, width // 2), *places]:
        square = squared_radius(int(ky), int(kx), height, width, "l2")
        assert index[ky, kx] == sum(square >= edge for edge in edges)


@pytest.mark.parametrize("bands", [1, 2, 5, 8])
def test_edges(bands: int) -> None:
    """The archive would describe other bands than were filtered."""
    for spacing in get_args(Spacing):
        wanted = [0.0, *map(float, inner_edges(bands, spacing)), 1.0]
        assert band_edges(bands, spacing).tolist() == wanted
    assert band_edges(bands).dtype == np.float64


@pytest.mark.parametrize(
    ("size", "bands", "spacing", "names"),
    [
        ((4, 4), 4, "linear", ["band 1", "4 x 4", "fewer bands"]),
        ((3, 3), 8, "linear", ["bands 1, 2, 3, 4, 6, 7", "3 x 3"]),
        ((28, 28), 8, "octave", ["bands 1, 2, 3", "linear spacing"]),
        ((1, 1), 2, "linear", ["band 1"]),
    ],
)
def test_an_empty_band_is_named(
    size: tuple[int, int], bands: int, spacing: Spacing, names: list[str]
) -> None:
    """A band without frequencies would get a contribution of exactly 0, as if it were useless."""
    with pytest.raises(OptionError) as caught:
        band_index(*size, bands, "linf", spacing)
    for name in names:
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((8, 8, 0), "from 1 to 64"),
        ((8, 8, 65), "from 1 to 64"),
        ((8, 8, True), "whole number"),
        ((8, 8, 2.0), "whole number"),
        ((8, 8, 2, "l3"), "linf, l2, l1"),
        ((8, 8, 2, "l2", "mel"), "linear, octave"),
        ((0, 8, 2), "0 x 8"),
        ((8, -1, 2), "8 x -1"),
    ],
)
def test_wrong_options_are_named(arguments: tuple[object, ...], word: str) -> None:
    with pytest.raises(OptionError, match=word):
        band_index(*arguments)  # type: ignore[arg-type]  # that is the point
