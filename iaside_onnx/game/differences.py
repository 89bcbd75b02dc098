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


@dataclass(frozen=True, slots=True)
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
    # The difference of the two means of each band.
    minus = np.hstack([-np.eye(bands), np.eye(bands)])
    reach = several * _errors(minus, covariance)
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


def _errors(slopes: NDArray[np.float64], covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard errors of linear functions of the means, ``(k,)``, from their slopes."""
    variance = np.einsum("ij,jk,ik->i", slopes, covariance, slopes, optimize=True)
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)))


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
    found = []
    for j, k, apart in _pairs(moments):
        bounds = _bounds(moments, (j, k), several, one)
        if j != k:
            # j may be taken for k where their contributions are nearly equal in both.
            near = _moved(_bounds(moments, (j, j), several, one), moments.mean[bands:], j, apart)
            bounds = min(bounds, near, key=lambda one: one.width)
        found.append(bounds)
    low, high, sis_low, sis_high = zip(*found, strict=True)
    scale = 1.0 - eta
    return (
        np.clip(np.min(low, axis=0), -1.0, 1.0), np.clip(np.max(high, axis=0), -1.0, 1.0),
        max(min(sis_low) / scale, -1.0), min(max(sis_high) / scale, 1.0),
    )  # fmt: skip


def _bounds(moments: Moments, references: tuple[int, int], several: float, one: float) -> _Bounds:
    """Delta intervals with given bands in place of the smallest, one in either decomposition."""
    bands = moments.mean.size // 2
    covariance = moments.covariance
    unit, eta = score_weights(bands)
    first = _distribution(moments.mean[:bands], references[0])
    second = _distribution(moments.mean[bands:], references[1])
    if first is None or second is None:
        # The distribution of one of them may be any.
        return _Bounds(np.full(bands, -1.0), np.full(bands, 1.0), eta - 1.0, 1.0 - eta)
    (psi_a, slopes_a), (psi_b, slopes_b) = first, second
    reach = several * _errors(np.hstack([-slopes_a, slopes_b]), covariance)
    zero = np.zeros(bands)
    rows = np.array([[*(unit @ slopes_a), *zero], [*zero, *(unit @ slopes_b)]])
    distances = (float(unit @ psi_a) - eta, float(unit @ psi_b) - eta)
    ends = list(_score_differences(distances, rows, covariance, one))
    middle = psi_b - psi_a
    return _Bounds(middle - reach, middle + reach, min(ends)[0], max(high for _, high in ends))


def _moved(bounds: _Bounds, phi: Phi, reference: int, apart: float) -> _Bounds:
    """Bounds where the smallest of the second is up to ``apart`` below the band of reference.

    Args:
        bounds: bounds with the band as the smallest of both.
        phi: means of the second, ``(bands,)``, in nats.
        reference: the band.
        apart: in nats.
    """
    found = _distribution(phi, reference)
    if found is None:
        return bounds
    above = phi - phi[reference]
    # Each share changes monotonically with the distance.
    shift = (above + apart) / (above + apart).sum() - found[0]
    score = abs(float(score_weights(phi.size)[0] @ shift))
    return _Bounds(
        bounds.low + np.minimum(shift, 0.0),
        bounds.high + np.maximum(shift, 0.0),
        bounds.sis_low - score,
        bounds.sis_high + score,
    )


def _score_differences(
    distances: tuple[float, float],
    rows: NDArray[np.float64],
    covariance: NDArray[np.float64],
    quantile: float,
) -> Iterator[tuple[float, float]]:
    """Intervals of the difference of two absolute values, one for each sign that either may have.

    Args:
        distances: the two values of which the score takes the absolute value.
        rows: their slopes, ``(2, 2 bands)``.
        covariance: of the means.
        quantile: half the width of an interval, in standard errors.
    """
    reach = quantile * _errors(rows, covariance)
    signs = [
        (1.0, -1.0) if abs(distance) < margin else (1.0 if distance >= 0 else -1.0,)
        for distance, margin in zip(distances, reach, strict=True)
    ]
    for a in signs[0]:
        for b in signs[1]:
            middle = b * distances[1] - a * distances[0]
            margin = quantile * float(_errors((b * rows[1] - a * rows[0])[None], covariance)[0])
            yield middle - margin, middle + margin


def _distribution(
    phi: Phi, reference: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """The distribution with a band in place of the smallest, and its slopes; None if undefined."""
    above = phi - phi[reference]
    total = float(above.sum())
    if total <= 0:
        return None
    psi = above / total
    return psi, distribution_slopes(psi, total, reference)


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
    for j in in_first:
        for k in in_second:
            row = np.zeros(2 * bands)
            row[[k, bands + j]] += 1.0
            row[[j, bands + k]] -= 1.0
            error = float(_errors(row[None], covariance)[0])
            apart = max(float(row @ mean) + MAY_BE_SMALLEST * error, 0.0)
            # The pair of the smallest means is always one of them, whatever rounding does.
            if apart > 0 or j == k or (j, k) == least:
                yield j, k, 0.0 if j == k else apart
