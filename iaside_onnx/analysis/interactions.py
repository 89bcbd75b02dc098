"""Interactions of pairs of bands, from the worths of an exact archive."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import special

from iaside_onnx.analysis.estimates import population_of
from iaside_onnx.analysis.frames import interactions_dataframe
from iaside_onnx.analysis.statistics import Interval
from iaside_onnx.archive import Archive, as_archive
from iaside_onnx.errors import ArchiveError
from iaside_onnx.game import LEVEL, MAX_EXACT_BANDS, all_coalitions, shapley_interactions

if TYPE_CHECKING:
    import pandas

__all__ = ["Interactions", "interactions"]


@dataclass(frozen=True, slots=True, eq=False)
class Interactions:
    """Mean interactions of pairs of bands, with intervals; bounds are NaN with one image.

    Negative: the bands overlap, and are worth less together than apart. Positive: they need each
    other. The matrices are symmetric. Their diagonals are 0, as there are no pairs of one band.

    Attributes:
        bands: number of bands.
        images: number of images.
        values: Shapley interaction indices, ``(bands, bands)``, in nats; means over images.
        low: lower bounds; the intervals of all pairs hold together with 95 %.
        high: upper bounds.
    """

    bands: int
    images: int
    values: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def __repr__(self) -> str:
        return f"<Interactions of {self.bands} bands, means over {self.images:,} images>"

    def to_dataframe(self) -> pandas.DataFrame:
        """A table of pandas, a row for each pair, in the order of `pairs`.

        Columns are ``band``, ``other``, ``value``, ``low`` and ``high``, the last three in nats.

        Raises:
            ExtraMissingError: if pandas is not installed.
        """
        return interactions_dataframe(self)

    def interval(self, i: int, j: int) -> Interval:
        """The interaction of two bands with its interval, in nats."""
        return Interval(*(float(part[i, j]) for part in (self.values, self.low, self.high)))

    def pairs(self) -> list[tuple[int, int]]:
        """All pairs of bands, the lower band first, those with the largest interactions first."""
        i, j = np.triu_indices(self.bands, 1)
        order = np.argsort(-np.abs(self.values[i, j]), kind="stable")
        return list(zip(i[order].tolist(), j[order].tolist(), strict=True))


def interactions(archive: Archive | str | Path) -> Interactions:
    """Mean Shapley interactions of all pairs of bands, with intervals.

    The index is that of `shapley_interactions`. Intervals are Student's t over images. Each is at
    the level ``1 - 0.05 / (M (M - 1) / 2)``, so that those of all pairs hold together with 95 %
    (Bonferroni; Dunn, JASA 1961). As with phi, they are about the images of the source alone where
    the archive was made with ``inference="sample"``. Memory does not grow with the number of
    images.

    Args:
        archive: a decomposition with every coalition, or its path.

    Raises:
        ArchiveError: if it cannot be read, does not hold every coalition, or a worth is not finite.
    """
    archive = as_archive(archive)
    _check_coalitions(archive)
    i, j = pairs = np.triu_indices(archive.bands, 1)
    running = _RunningMoments(i.size)
    for rows in archive.pieces("worth"):
        worth = archive.worth(rows.start, rows.stop)
        _check_finite(archive, worth, rows.start)
        running.add(shapley_interactions(worth)[:, i, j])
    reach = running.errors(population_of(archive)) * float(
        special.stdtrit(running.count - 1, 1 - (1 - LEVEL) / (2 * i.size))
    )
    values, low, high = (
        _symmetric(part, archive.bands, pairs)
        for part in (running.mean, running.mean - reach, running.mean + reach)
    )
    return Interactions(archive.bands, running.count, values, low, high)


def _check_coalitions(archive: Archive) -> None:
    bands = archive.bands
    # Sizes first: in an edited archive there may be any number of bands.
    full = not archive.own_coalitions and 2 <= bands <= MAX_EXACT_BANDS
    if not full or not np.array_equal(archive["coalition"], all_coalitions(bands)):
        raise ArchiveError(
            f"{archive.path}: does not hold the worth of every coalition of its {bands} bands, "
            "which interactions need; decompose with `method='exact'`"
        )


def _check_finite(archive: Archive, worth: NDArray[np.float32], start: int) -> None:
    bad = ~np.isfinite(worth).all(axis=1)
    if bad.any():
        name = archive["image_id"][start + int(bad.argmax())]
        raise ArchiveError(
            f"{archive.path}: worths of image {name} are not finite, so its interactions are "
            "undefined; the archive is damaged or was edited: restore the file"
        )


def _symmetric(
    values: NDArray[np.float64], bands: int, pairs: tuple[NDArray[np.intp], ...]
) -> NDArray[np.float64]:
    """A symmetric matrix with 0 on the diagonal, from the values of the pairs."""
    matrix = np.zeros((bands, bands))
    matrix[pairs] = matrix[pairs[::-1]] = values
    return matrix


class _RunningMoments:
    """Means and variances of rows that come in pieces.

    Pieces are merged by the update of Chan, Golub, LeVeque (Updating formulae and a pairwise
    algorithm for computing sample variances, 1979), which is stable where means are far from 0.
    """

    def __init__(self, size: int) -> None:
        self.count = 0
        self.mean = np.zeros(size)
        self._squares = np.zeros(size)

    def add(self, rows: NDArray[np.float64]) -> None:
        """Add a piece, ``(n, size)``."""
        n, mean = len(rows), rows.mean(axis=0)
        shift = mean - self.mean
        total = self.count + n
        self._squares += ((rows - mean) ** 2).sum(axis=0) + shift**2 * (self.count * n / total)
        self.mean += shift * (n / total)
        self.count = total

    def errors(self, population: int | None) -> NDArray[np.float64]:
        """Standard errors of the means, as `unit_moments` has them; NaN with a single row."""
        n = self.count
        if n == 1:
            return np.full_like(self.mean, np.nan)
        left = 1.0 if population is None else 1 - n / population
        return np.asarray(np.sqrt(self._squares / (n - 1) / n * left))
