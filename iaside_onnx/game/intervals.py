"""Confidence intervals for contributions, distribution and score.

The distribution is not smooth where the smallest contributions tie, so the delta method alone
gives the smallest band a width of zero and a bootstrap covers far too little. Instead every band
that may be the smallest takes its turn as the reference, and the envelope is reported.
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

__all__ = ["LEVEL", "Estimate", "estimate"]

LEVEL = 0.95
"""Confidence level of every interval."""

_MAY_BE_SMALLEST = 2.24
"""Standard errors within which a band may be the smallest (two-sided 97.5 %)."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Means over images with 95 % intervals; NaN bounds where one unit leaves them undefined.

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
        uniform: whether all contributions are equal, so that psi and SIS are so by convention.
        smallest: the bands that may be the smallest, given the uncertainty.
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


def estimate(units: Phi) -> Estimate:
    """Estimate phi, psi and SIS of the population that the units were drawn from.

    Args:
        units: contributions of independent units, ``(n, bands)`` in nats: images, or the means of
            blocks of images. At least one.
    """
    n, bands = units.shape
    phi = units.mean(axis=0)
    psi = spectral_distribution(phi)
    sis = spectral_importance_score(psi)
    undefined = np.full(bands, np.nan)
    if n < 2:
        return Estimate(
            phi, undefined, undefined, psi, undefined, undefined, sis, np.nan, np.nan,
            is_uniform(phi), (),
        )  # fmt: skip
    covariance = np.atleast_2d(np.cov(units, rowvar=False)) / n
    quantile = float(special.stdtrit(n - 1, 0.5 + LEVEL / 2))
    margin = quantile * np.sqrt(np.diag(covariance))
    smallest = _may_be_smallest(phi, covariance)
    if is_uniform(phi):
        psi_low, psi_high = np.zeros(bands), np.ones(bands)
        sis_low, sis_high = 0.0, 1.0
        if not covariance.any():
            # Every unit has equal contributions throughout: the convention is certain.
            psi_low, psi_high, sis_high = psi.copy(), psi.copy(), 0.0
    else:
        psi_low, psi_high, sis_low, sis_high = _envelope(phi, covariance, quantile, smallest)
    return Estimate(
        phi, phi - margin, phi + margin, psi, psi_low, psi_high, sis, sis_low, sis_high,
        is_uniform(phi), smallest,
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
            # With this band as the smallest, the distribution is undefined: anything may be.
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
        # The score is the absolute value: an interval across zero folds over.
        sis_low = min(sis_low, 0.0 if low <= 0 <= high else min(abs(low), abs(high)))
        sis_high = max(sis_high, abs(low), abs(high))
    psi_low, psi_high = np.clip(psi_low, 0.0, 1.0), np.clip(psi_high, 0.0, 1.0)
    return psi_low, psi_high, sis_low / (1.0 - eta), min(sis_high / (1.0 - eta), 1.0)
