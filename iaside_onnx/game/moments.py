"""Means over images, and the covariance that the errors of these means have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from iaside_onnx.types import Phi

__all__ = ["LEVEL", "Moments", "block_moments", "unit_moments"]

LEVEL = 0.95
"""Confidence level of every interval."""

_LEAST = 2
"""Smallest number of units, or of blocks per stratum, from which a variance is estimated."""

_FEW_BLOCKS = 10
"""With fewer blocks the covariance estimate is too noisy: some entries are nearly 0 by chance."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Means and the covariance of their errors.

    Attributes:
        mean: ``(k,)``, in nats.
        covariance: of the means, ``(k, k)``; NaN where there is only one unit.
        freedom: degrees of freedom of the covariance.
    """

    mean: Phi
    covariance: NDArray[np.float64]
    freedom: int

    @property
    def known(self) -> bool:
        """Whether anything is known of the errors."""
        return not bool(np.isnan(self.covariance).any())

    def quantile(self, level: float = LEVEL) -> float:
        """Half the width of an interval, in standard errors: of Student's t distribution."""
        return float(special.stdtrit(self.freedom, 0.5 + level / 2))


def unit_moments(units: Phi, population: int | None = None) -> Moments:
    """Means over independent units, and their covariance.

    Args:
        units: values of independent units, ``(n, bands)``, such as images. At least one.
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
    return Moments(units.mean(axis=0), covariance, n - 1)


def block_moments(
    forward: Phi,
    backward: Phi,
    blocks: NDArray[np.int64],
    strata: NDArray[np.int64] | None = None,
    population: int | None = None,
    draws: NDArray[np.int64] | None = None,
) -> Moments:
    """Means from a sample of coalitions of each image, and their covariance.

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
    return Moments(units.mean(axis=0), covariance, count - 1)


def _means(values: Phi, group: NDArray[np.int64]) -> Phi:
    """Mean of each group, ``(groups, bands)``."""
    sums = np.zeros((int(group.max()) + 1, values.shape[1]))
    np.add.at(sums, group, values)
    return np.asarray(sums / np.bincount(group)[:, None])


def _positive(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest positive semidefinite matrix: a difference of covariances may not be one."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.maximum(values, 0.0)) @ vectors.T)
