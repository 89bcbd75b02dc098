"""Confidence intervals for contributions, distribution and score.

The distribution is not smooth where the smallest contributions tie. The delta method alone gives
the smallest band an interval of width zero, and the coverage of a bootstrap is far too low. So
there is one delta interval for each band that may be the smallest, and their envelope is reported.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.game.moments import LEVEL, Moments, unit_moments
from iaside_onnx.game.scores import (
    is_uniform,
    score_weights,
    spectral_distribution,
    spectral_importance_score,
)
from iaside_onnx.types import Phi

__all__ = [
    "MAY_BE_SMALLEST",
    "Estimate",
    "distribution_slopes",
    "estimate",
    "estimate_moments",
    "may_be_smallest",
]

MAY_BE_SMALLEST = 2.24
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


def estimate(units: Phi, population: int | None = None, level: float = LEVEL) -> Estimate:
    """Estimate phi, psi and SIS of the population that the units were drawn from.

    Args:
        units: contributions of independent units, ``(n, bands)`` in nats, such as images. At least
            one.
        population: number of units of a finite population, as `unit_moments` takes it.
        level: confidence level of each interval, in (0, 1).
    """
    return estimate_moments(unit_moments(units, population), level)


def estimate_moments(moments: Moments, level: float = LEVEL) -> Estimate:
    """Phi, psi and SIS from means and their covariance.

    Args:
        moments: means of contributions, ``(bands,)`` in nats.
        level: confidence level of each interval, in (0, 1).
    """
    phi, covariance = moments.mean, moments.covariance
    bands = phi.size
    psi = spectral_distribution(phi)
    sis = spectral_importance_score(psi)
    undefined = np.full(bands, np.nan)
    if not moments.known:
        return Estimate(
            phi, undefined, undefined, psi, undefined, undefined, sis, np.nan, np.nan,
            is_uniform(phi), (), undefined,
        )  # fmt: skip
    quantile = moments.quantile(level)
    error = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    margin = quantile * error
    smallest = may_be_smallest(phi, covariance)
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


def may_be_smallest(phi: Phi, covariance: NDArray[np.float64]) -> tuple[int, ...]:
    """The bands that may have the smallest contribution, in ascending order.

    Args:
        phi: mean contributions, ``(bands,)`` in nats.
        covariance: of these means, ``(bands, bands)``.
    """
    least = int(phi.argmin())
    variance = np.diag(covariance) + covariance[least, least] - 2 * covariance[least]
    reach = MAY_BE_SMALLEST * np.sqrt(np.maximum(variance, 0.0))
    return tuple(np.flatnonzero(phi - phi[least] <= reach).tolist())


def distribution_slopes(
    psi: NDArray[np.float64], total: float, reference: int
) -> NDArray[np.float64]:
    """Derivatives of the distribution with a given band in place of the smallest.

    Args:
        psi: the distribution above that band, ``(bands,)``.
        total: sum of the contributions above that of the band, in nats.
        reference: the band.

    Returns:
        ``(bands, bands)`` per nat: element (i, k) is ``d psi_i / d phi_k``.
    """
    # d(above_i)/d(phi_k) and, through the total, d(psi_i)/d(phi_k).
    shift = np.eye(psi.size)
    shift[:, reference] -= 1.0
    return np.asarray((shift - np.outer(psi, shift.sum(axis=0))) / total)


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
        jacobian = distribution_slopes(psi, total, reference)
        spread = jacobian @ covariance @ jacobian.T
        margin = quantile * np.sqrt(np.maximum(np.diag(spread), 0.0))
        psi_low, psi_high = np.minimum(psi_low, psi - margin), np.maximum(psi_high, psi + margin)
        distance = float(unit @ psi) - eta
        reach = quantile * float(np.sqrt(max(float(unit @ spread @ unit), 0.0)))
        low, high = distance - reach, distance + reach
        # The score is the absolute value: an interval that contains 0 starts at 0.
        sis_low = min(sis_low, 0.0 if low <= 0 <= high else min(abs(low), abs(high)))
        sis_high = max(sis_high, abs(low), abs(high))
    psi_low, psi_high = np.clip(psi_low, 0.0, 1.0), np.clip(psi_high, 0.0, 1.0)
    return psi_low, psi_high, sis_low / (1.0 - eta), min(sis_high / (1.0 - eta), 1.0)
