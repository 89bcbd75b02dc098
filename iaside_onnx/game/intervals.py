"""Confidence intervals for contributions, distribution and score.

The distribution is not smooth where the smallest contributions tie. The delta method alone gives
the smallest band an interval of width zero, and the coverage of a bootstrap is far too low. So
there is one delta interval for each band that may be the smallest, and their envelope is reported.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from iaside_onnx.game.scores import (
    is_uniform,
    score_weights,
    spectral_distribution,
    spectral_importance_score,
)
from iaside_onnx.types import Phi

__all__ = ["LEVEL", "Estimate", "estimate", "estimate_blocks"]

LEVEL = 0.95
"""Confidence level of every interval."""

_LEAST = 2
"""Smallest number of units, or of blocks per stratum, from which a variance is estimated."""

_FEW_BLOCKS = 10
"""With fewer blocks the covariance estimate is too noisy: some entries are nearly 0 by chance."""

_MAY_BE_SMALLEST = 2.24
"""Standard errors within which a band may be the smallest (two-sided 97.5 %)."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Means over images with 95 % intervals; the bounds are NaN where there is only one unit.

    Attributes:
        phi: mean contributions, ``(bands,)``, in nats.
        phi_low: lower bounds of phi.
        phi_high: upper bounds of phi.
        psi: distribution over the bands, ``(bands,)``.
        psi_low: lower bounds of psi.
        psi_high: upper bounds of psi.
        sis: spectral importance score.
        sis_low: lower bound of the score.
        sis_high: upper bound of the score.
        uniform: whether all contributions are equal, so that psi and SIS follow a convention.
        smallest: the bands that may be the smallest, given the uncertainty.
        standard_error: standard error of phi, ``(bands,)``, in nats.
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
    uniform: bool
    smallest: tuple[int, ...]
    standard_error: Phi


def estimate(units: Phi, population: int | None = None) -> Estimate:
    """Estimate phi, psi and SIS of the population that the units were drawn from.

    Args:
        units: contributions of independent units, ``(n, bands)`` in nats, such as images. At least
            one.
        population: number of units N of a finite population, if the estimate is about it and the
            units were drawn from it without replacement: the variance is multiplied by
            ``1 - n / N`` (Cochran, Sampling Techniques, 1977, section 2.6).
    """
    n, bands = units.shape
    covariance = np.full((bands, bands), np.nan)
    if n >= _LEAST:
        covariance = np.atleast_2d(np.cov(units, rowvar=False)) / n
    if population is not None:
        covariance = covariance * (1 - n / population) if n < population else 0 * np.eye(bands)
    return _estimate(units.mean(axis=0), covariance, n - 1)


def estimate_blocks(
    forward: Phi,
    backward: Phi,
    blocks: NDArray[np.int64],
    strata: NDArray[np.int64] | None = None,
    population: int | None = None,
    draws: NDArray[np.int64] | None = None,
) -> Estimate:
    """Estimate phi, psi and SIS from a sample of coalitions of each image.

    The mean over images has the variance ``sum over blocks of T T' / n**2``, where T is the sum of
    the deviations of a block from the mean: images of one block depend on each other, blocks do
    not. With fewer than 10 blocks, each image counts as a block. That is conservative, because the
    errors of the images of a balanced block are negatively correlated.

    Two corrections are made where they apply (Cochran, Sampling Techniques, 1977, sections 5.6 and
    10.3). Strata: where K classes have the same shares in the sample as in the population,
    deviations are from the mean of the stratum, and ``n - K`` of ``n - 1`` degrees of freedom are
    left. Finite population: where N images are drawn without replacement, the covariance S between
    images counts for ``1 - n / N`` only, so ``S / N`` is subtracted. S is estimated by the
    covariance between the forward and the backward estimates. Their errors are negatively
    correlated, so the estimate of S tends to be too small, and the interval too wide.

    Args:
        forward: estimates of each image's contributions from its permutations, ``(n, bands)``.
        backward: likewise from their reverses.
        blocks: the block of each image, ``(n,)``.
        strata: the class of each image, ``(n,)``, if the images were drawn in proportion; left out
            where there are fewer than two blocks per class.
        population: number of images N of a finite population, if the estimate is about it.
        draws: position of each image in the order of its draw, ``(n,)``, for merged samples of one
            seed: images at the same position have the same permutations, and count as one block
            where there are fewer than 10 blocks.
    """
    units = (forward + backward) / 2
    n, bands = units.shape
    covariance = np.full((bands, bands), np.nan)
    _, block_of = np.unique(blocks, return_inverse=True)
    if int(block_of.max()) + 1 < _FEW_BLOCKS:
        block_of = np.arange(n) if draws is None else np.unique(draws, return_inverse=True)[1]
    count = int(block_of.max()) + 1
    if count >= _LEAST:
        stratum = np.zeros(n, dtype=np.int64)
        if strata is not None and count >= _LEAST * np.unique(strata).size:
            stratum = np.unique(strata, return_inverse=True)[1]
        groups = int(stratum.max()) + 1
        deviations = units - _means(units, stratum)[stratum]
        sums = np.zeros((count, bands))
        np.add.at(sums, block_of, deviations)
        spread = count / (count - 1) * (n - 1) / (n - groups)
        covariance = spread * (sums.T @ sums) / n**2
        if population is not None:
            a = forward - _means(forward, stratum)[stratum]
            b = backward - _means(backward, stratum)[stratum]
            between = (a.T @ b + b.T @ a) / (2 * (n - groups))
            covariance = _positive(covariance - _positive(between) / population)
    return _estimate(units.mean(axis=0), covariance, count - 1)


def _means(values: Phi, group: NDArray[np.int64]) -> Phi:
    """Mean of each group, ``(groups, bands)``."""
    sums = np.zeros((int(group.max()) + 1, values.shape[1]))
    np.add.at(sums, group, values)
    return np.asarray(sums / np.bincount(group)[:, None])


def _positive(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest positive semidefinite matrix: a difference of covariances may not be one."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.maximum(values, 0.0)) @ vectors.T)


def _estimate(phi: Phi, covariance: NDArray[np.float64], freedom: int) -> Estimate:
    """The estimate from means, their covariance (NaN if unknown), and its degrees of freedom."""
    bands = phi.size
    psi = spectral_distribution(phi)
    sis = spectral_importance_score(psi)
    undefined = np.full(bands, np.nan)
    if np.isnan(covariance).any():
        return Estimate(
            phi, undefined, undefined, psi, undefined, undefined, sis, np.nan, np.nan,
            is_uniform(phi), (), undefined,
        )  # fmt: skip
    quantile = float(special.stdtrit(freedom, 0.5 + LEVEL / 2))
    error = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    margin = quantile * error
    smallest = _may_be_smallest(phi, covariance)
    if is_uniform(phi):
        psi_low, psi_high = np.zeros(bands), np.ones(bands)
        sis_low, sis_high = 0.0, 1.0
        if not covariance.any():
            # All contributions of every unit are equal, so nothing is uncertain.
            psi_low, psi_high, sis_high = psi.copy(), psi.copy(), 0.0
    else:
        psi_low, psi_high, sis_low, sis_high = _envelope(phi, covariance, quantile, smallest)
    return Estimate(
        phi, phi - margin, phi + margin, psi, psi_low, psi_high, sis, sis_low, sis_high,
        is_uniform(phi), smallest, error,
    )  # fmt: skip


def _may_be_smallest(phi: Phi, covariance: NDArray[np.float64]) -> tuple[int, ...]:
    least = int(phi.argmin())
    variance = np.diag(covariance) + covariance[least, least] - 2 * covariance[least]
    reach = _MAY_BE_SMALLEST * np.sqrt(np.maximum(variance, 0.0))
    return tuple(np.flatnonzero(phi - phi[least] <= reach).tolist())


def _envelope(
    phi: Phi, covariance: NDArray[np.float64], quantile: float, smallest: tuple[int, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float, float]:
    """Union of the delta-t intervals of psi and SIS, one for each band as the reference."""
    bands = phi.size
    unit, eta = score_weights(bands)
    psi_low, psi_high = np.full(bands, np.inf), np.full(bands, -np.inf)
    sis_low, sis_high = np.inf, -np.inf
    for reference in smallest:
        above = phi - phi[reference]
        total = above.sum()
        if total <= 0:
            # With this band as the smallest, the distribution is undefined: it may be any.
            return np.zeros(bands), np.ones(bands), 0.0, 1.0
        psi = above / total
        # d(above_i)/d(phi_k) and, through the total, d(psi_i)/d(phi_k).
        shift = np.eye(bands)
        shift[:, reference] -= 1.0
        jacobian = (shift - np.outer(psi, shift.sum(axis=0))) / total
        spread = jacobian @ covariance @ jacobian.T
        margin = quantile * np.sqrt(np.maximum(np.diag(spread), 0.0))
        psi_low, psi_high = np.minimum(psi_low, psi - margin), np.maximum(psi_high, psi + margin)
        distance = float(unit @ psi) - eta
        reach = quantile * float(np.sqrt(max(unit @ spread @ unit, 0.0)))
        low, high = distance - reach, distance + reach
        # The score is the absolute value: an interval that contains 0 starts at 0.
        sis_low = min(sis_low, 0.0 if low <= 0 <= high else min(abs(low), abs(high)))
        sis_high = max(sis_high, abs(low), abs(high))
    psi_low, psi_high = np.clip(psi_low, 0.0, 1.0), np.clip(psi_high, 0.0, 1.0)
    return psi_low, psi_high, sis_low / (1.0 - eta), min(sis_high / (1.0 - eta), 1.0)
