"""Differences between two decompositions of the same images, with intervals.

Both answer about the same images, so their errors are correlated, and differences are of pairs:
image by image. Distribution and score are not smooth where the smallest contributions tie, so there
is one delta interval for each pair of bands that may be the smallest, one in either, and their
envelope is reported, as `iaside_onnx.game.intervals` does it for one decomposition.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.game.intervals import MAY_BE_SMALLEST, distribution_slopes, may_be_smallest
from iaside_onnx.game.moments import LEVEL, Moments, block_moments, unit_moments
from iaside_onnx.game.scores import (
    score_weights,
    spectral_distribution,
    spectral_importance_score,
)
from iaside_onnx.types import Phi

__all__ = ["Differences", "differences", "joint_moments"]

# Differences of contributions up to this share of the largest are rounding.
_ROUNDING = 1e-7


@dataclass(frozen=True, slots=True, eq=False)
class Differences:
    """The second decomposition minus the first; bounds are NaN where there is only one image.

    Attributes:
        phi: differences of mean contributions, ``(bands,)``, in nats.
        phi_low: lower bounds; those of all bands hold together.
        phi_high: upper bounds.
        psi: differences of the distributions, ``(bands,)``, in [-1, 1].
        psi_low: lower bounds; those of all bands hold together.
        psi_high: upper bounds.
        sis: difference of the scores, in (-1, 1).
        sis_low: lower bound.
        sis_high: upper bound.
        smallest: the bands that may be the smallest, of the first and of the second.
    """

    phi: Phi
    phi_low: Phi
    phi_high: Phi
    psi: NDArray[np.float64]
    psi_low: NDArray[np.float64]
    psi_high: NDArray[np.float64]
    sis: float
    sis_low: float
    sis_high: float
    smallest: tuple[tuple[int, ...], tuple[int, ...]]


def joint_moments(
    gains: tuple[Phi, Phi],
    blocks: tuple[NDArray[np.int64], NDArray[np.int64]],
    strata: NDArray[np.int64] | None = None,
    population: int | None = None,
) -> Moments:
    """Means of two decompositions of the same images, and the covariance of all of them.

    Images of one block depend on each other. Where only one of the two has blocks, or both have the
    same, these are the units. Where both have different blocks, each image is a unit, which is
    conservative: the errors of the images of a balanced block are negatively correlated.

    Args:
        gains: contributions of each image, ``(parts, n, bands)`` in nats, as designs give them, of
            either decomposition, in the same order of images.
        blocks: the block of each image, ``(n,)``, likewise; a block of its own where images are
            independent.
        strata: class of each image, ``(n,)``, if images were drawn in proportion to classes.
        population: number of images that the estimate is about, if it is about a finite set.

    Returns:
        Moments of ``2 bands`` means, those of the first decomposition before those of the second.
    """
    parts = max(len(one) for one in gains)
    wide = [np.broadcast_to(one, (parts, *one.shape[1:])) for one in gains]
    units = np.concatenate(wide, axis=2)
    n = units.shape[1]
    own = [np.unique(one).size == n for one in blocks]
    if all(own):
        return unit_moments(units.mean(axis=0), population)
    if own[0] or own[1] or np.array_equal(*blocks):
        groups = blocks[1] if own[0] else blocks[0]
    else:
        groups = np.arange(n)
    return block_moments(units[0], units[-1], groups, strata, population)


def differences(moments: Moments, comparisons: int = 1, level: float = LEVEL) -> Differences:
    """Differences of contributions, distribution and score between two decompositions.

    All bounds of phi hold together, and so do all bounds of psi: each is at the level
    ``1 - (1 - level) / (bands * comparisons)`` (Bonferroni; Dunn, JASA 1961). That of the score is
    at ``1 - (1 - level) / comparisons``.

    Args:
        moments: of both, as `joint_moments` gives them.
        comparisons: number of comparisons that shall hold together, at least 1.
        level: confidence level of all bounds of one kind together, in (0, 1).
    """
    bands = moments.mean.size // 2
    first, second = moments.mean[:bands], moments.mean[bands:]
    psi = spectral_distribution(second) - spectral_distribution(first)
    sis = _score(second) - _score(first)
    if not moments.known:
        undefined = np.full(bands, np.nan)
        return Differences(
            second - first, undefined, undefined, psi, undefined, undefined, sis, np.nan, np.nan,
            ((), ()),
        )  # fmt: skip
    several = moments.quantile(1 - (1 - level) / (bands * comparisons))
    one = moments.quantile(1 - (1 - level) / comparisons)
    covariance = moments.covariance
    reach = several * _roots(np.diag(_difference_covariance(covariance)))
    if (np.abs(second - first) + reach).max() <= _ROUNDING * float(np.abs(moments.mean).max()):
        # Equal for every image, whatever the distribution is.
        psi_low, psi_high, sis_low, sis_high = np.zeros(bands), np.zeros(bands), 0.0, 0.0
    else:
        psi_low, psi_high, sis_low, sis_high = _envelope(moments, several, one)
    smallest = (
        may_be_smallest(first, covariance[:bands, :bands]),
        may_be_smallest(second, covariance[bands:, bands:]),
    )
    return Differences(
        second - first, second - first - reach, second - first + reach,
        psi, psi_low, psi_high, sis, sis_low, sis_high, smallest,
    )  # fmt: skip


def _score(phi: Phi) -> float:
    return spectral_importance_score(spectral_distribution(phi))


class _Bounds(NamedTuple):
    """Bounds of the differences of psi, ``(bands,)`` each, and of the score before scaling."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    sis_low: float
    sis_high: float

    @property
    def width(self) -> float:
        """Width over all bands."""
        return float((self.high - self.low).sum())


@dataclass(frozen=True, slots=True)
class _Reference:
    """One decomposition with a given band in place of the smallest; what pairs of them share.

    Attributes:
        psi: the distribution, ``(bands,)``.
        slopes: its slopes, ``(bands, bands)``.
        variance: of psi, ``(bands,)``.
        crossed: slopes times the covariance with the other decomposition, ``(bands, bands)``.
        distance: what the score is the absolute value of.
        score_slopes: slopes of the distance, ``(bands,)``.
        score_variance: variance of the distance.
    """

    psi: NDArray[np.float64]
    slopes: NDArray[np.float64]
    variance: NDArray[np.float64]
    crossed: NDArray[np.float64]
    distance: float
    score_slopes: NDArray[np.float64]
    score_variance: float

    @classmethod
    def of(cls, moments: Moments, side: int, band: int) -> _Reference | None:
        """The first (0) or the second (1) with a band as the smallest; None if undefined."""
        bands = moments.mean.size // 2
        here, there = slice(side * bands, (side + 1) * bands), slice((1 - side) * bands, None)
        phi = moments.mean[here]
        above = phi - phi[band]
        total = float(above.sum())
        if total <= 0:
            return None
        psi = above / total
        slopes = distribution_slopes(psi, total, band)
        own = slopes @ moments.covariance[here, here]
        unit, eta = score_weights(bands)
        score_slopes = unit @ slopes
        return cls(
            psi=psi,
            slopes=slopes,
            variance=(own * slopes).sum(axis=1),
            crossed=slopes @ moments.covariance[here, there][:, :bands],
            distance=float(unit @ psi) - eta,
            score_slopes=score_slopes,
            score_variance=float(unit @ own @ score_slopes),
        )


def _envelope(
    moments: Moments, several: float, one: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], float, float]:
    """Union of the intervals of psi and SIS over all pairs of bands that may be the smallest.

    Args:
        moments: of both decompositions.
        several: quantile for the bounds of psi.
        one: quantile for the bounds of the score.
    """
    bands = moments.mean.size // 2
    _, eta = score_weights(bands)
    first, second = (
        [_Reference.of(moments, side, band) for band in range(bands)] for side in (0, 1)
    )
    # Where a distribution is undefined it may be any.
    anything = _Bounds(np.full(bands, -1.0), np.full(bands, 1.0), -1.0, 1.0)

    def bounds(j: int, k: int) -> _Bounds:
        a, b = first[j], second[k]
        return anything if a is None or b is None else _bounds(a, b, several, one)

    found = []
    for j, k, apart in _pairs(moments):
        taken = bounds(j, k)
        if j != k:
            # j may be taken for k where their contributions are nearly equal in both.
            near = _moved(bounds(j, j), moments.mean[bands:], j, apart)
            taken = min(taken, near, key=lambda one: one.width)
        found.append(taken)
    low, high, sis_low, sis_high = zip(*found, strict=True)
    scale = 1.0 - eta
    return (
        np.clip(np.min(low, axis=0), -1.0, 1.0), np.clip(np.max(high, axis=0), -1.0, 1.0),
        max(min(sis_low) / scale, -1.0), min(max(sis_high) / scale, 1.0),
    )  # fmt: skip


def _bounds(first: _Reference, second: _Reference, several: float, one: float) -> _Bounds:
    """Delta intervals with given bands in place of the smallest."""
    common = (first.crossed * second.slopes).sum(axis=1)
    reach = several * _roots(first.variance + second.variance - 2 * common)
    ends = list(_score_differences(first, second, one))
    middle = second.psi - first.psi
    return _Bounds(middle - reach, middle + reach, min(ends)[0], max(high for _, high in ends))


def _roots(variances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard errors; rounding may leave a variance below 0."""
    return np.asarray(np.sqrt(np.maximum(variances, 0.0)))


def _moved(bounds: _Bounds, phi: Phi, reference: int, apart: float) -> _Bounds:
    """Bounds where the smallest of the second is up to ``apart`` below the band of reference.

    Args:
        bounds: bounds with the band as the smallest of both.
        phi: means of the second, ``(bands,)``, in nats.
        reference: the band.
        apart: in nats.
    """
    above = phi - phi[reference]
    if above.sum() <= 0:
        return bounds
    # Each share changes monotonically with the distance.
    shift = (above + apart) / (above + apart).sum() - above / above.sum()
    score = abs(float(score_weights(phi.size)[0] @ shift))
    return _Bounds(
        bounds.low + np.minimum(shift, 0.0),
        bounds.high + np.maximum(shift, 0.0),
        bounds.sis_low - score,
        bounds.sis_high + score,
    )


def _score_differences(
    first: _Reference, second: _Reference, quantile: float
) -> Iterator[tuple[float, float]]:
    """Intervals of the difference of two absolute values, one for each sign that either may have.

    Args:
        first: the one that is subtracted.
        second: the other.
        quantile: half the width of an interval, in standard errors.
    """
    unit, _ = score_weights(first.psi.size)
    common = float(unit @ first.crossed @ second.score_slopes)
    for a in _signs(first, quantile):
        for b in _signs(second, quantile):
            middle = b * second.distance - a * first.distance
            variance = first.score_variance + second.score_variance - 2 * a * b * common
            margin = quantile * np.sqrt(max(variance, 0.0))
            yield middle - margin, middle + margin


def _signs(one: _Reference, quantile: float) -> tuple[float, ...]:
    """The signs that the distance of a score may have."""
    if abs(one.distance) < quantile * np.sqrt(max(one.score_variance, 0.0)):
        return (1.0, -1.0)
    return (1.0,) if one.distance >= 0 else (-1.0,)


def _pairs(moments: Moments) -> Iterator[tuple[int, int, float]]:
    """Bands that may be the smallest, one in either decomposition, and how far they are apart.

    Where j is the smallest in the first and k in the second, k is above j in the first, and j above
    k in the second, by ``first_k - first_j + second_j - second_k`` together. The error of that sum
    is far smaller than those of its parts where models are nearly equal, so that it bounds both.

    Yields:
        j, k, and the upper bound of that sum, in nats; 0 for j = k.
    """
    bands = moments.mean.size // 2
    mean, covariance = moments.mean, moments.covariance
    in_first = may_be_smallest(mean[:bands], covariance[:bands, :bands])
    in_second = may_be_smallest(mean[bands:], covariance[bands:, bands:])
    least = (int(mean[:bands].argmin()), int(mean[bands:].argmin()))
    difference, spread = mean[:bands] - mean[bands:], _difference_covariance(covariance)
    variance = np.diag(spread)[:, None] + np.diag(spread) - 2 * spread
    sums = difference - difference[:, None] + MAY_BE_SMALLEST * _roots(variance)
    for j in in_first:
        for k in in_second:
            apart = max(float(sums[j, k]), 0.0)
            # The pair of the smallest means is always one of them, whatever rounding does.
            if apart > 0 or j == k or (j, k) == least:
                yield j, k, 0.0 if j == k else apart


def _difference_covariance(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance of the differences of the means of each band, ``(bands, bands)``."""
    bands = len(covariance) // 2
    first, second = covariance[:bands, :bands], covariance[bands:, bands:]
    common = covariance[:bands, bands:]
    return np.asarray(first + second - common - common.T)
