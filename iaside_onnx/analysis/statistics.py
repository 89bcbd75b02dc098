"""Intervals and tests of proportions and means, for one sample and for pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from iaside_onnx.game import LEVEL

__all__ = [
    "Interval",
    "mcnemar",
    "mean_interval",
    "paired_difference",
    "proportion_interval",
]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its interval; the bounds are NaN where nothing is known of the error.

    Attributes:
        value: the estimate.
        low: lower bound.
        high: upper bound.
    """

    value: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 or -1 if all of the interval lies above or below 0, else 0."""
        return int(self.low > 0) - int(self.high < 0)


def mean_interval(values: NDArray[np.floating], level: float = LEVEL) -> Interval:
    """The mean of independent values, ``(n,)``, with Student's t interval."""
    n = values.size
    mean = float(values.mean(dtype=np.float64))
    if n == 1:
        return Interval(mean, np.nan, np.nan)
    error = float(values.std(ddof=1, dtype=np.float64)) / np.sqrt(n)
    reach = float(special.stdtrit(n - 1, 0.5 + level / 2) * error)
    return Interval(mean, mean - reach, mean + reach)


def proportion_interval(right: float, n: float, level: float = LEVEL) -> Interval:
    """A proportion with the interval of Clopper and Pearson (Biometrika 1934).

    It is exact: neither bound is missed in more than half of ``1 - level`` of all cases, also for
    a handful of images and for proportions near 0 and 1.

    Args:
        right: number of successes; a fraction where it is an expectation.
        n: number of trials, at least 1.
        level: confidence level, in (0, 1).
    """
    tail = (1 - level) / 2
    low = float(special.betaincinv(right, n - right + 1, tail)) if right else 0.0
    high = float(special.betaincinv(right + 1, n - right, 1 - tail)) if right < n else 1.0
    return Interval(right / n, low, high)


def mcnemar(gained: int, lost: int) -> float:
    """The exact two-sided p-value that as many pairs change in one direction as in the other.

    A binomial test on the pairs that differ (McNemar, Psychometrika 1947).

    Args:
        gained: pairs that are right in the second only.
        lost: pairs that are right in the first only.
    """
    changed = gained + lost
    fewer = min(gained, lost)
    if not changed:
        return 1.0
    return min(1.0, 2.0 * float(special.bdtr(fewer, changed, 0.5)))


def paired_difference(gained: float, lost: float, n: float, level: float = LEVEL) -> Interval:
    """The difference of two proportions of the same images, second minus first.

    The score interval of Tango (Statistics in Medicine 1998): all differences that a score test of
    the pairs that differ does not reject. It covers also where few pairs differ, or none.

    Args:
        gained: pairs that are right in the second only.
        lost: pairs that are right in the first only.
        n: number of pairs, at least 1.
        level: confidence level, in (0, 1).
    """
    value = (gained - lost) / n
    quantile = float(special.ndtri(0.5 + level / 2))

    def bound(side: int) -> float:
        return _crossing(
            lambda delta: _score(gained, lost, n, delta) + side * quantile, value, side
        )

    return Interval(value, bound(-1), bound(1))


def _score(gained: float, lost: float, n: float, delta: float) -> float:
    """The score of a difference ``delta``: distance from the estimate, in standard errors."""
    # The largest likelihood of the share `p` of lost pairs, if that of gained ones is `p + delta`.
    a = 2.0 * n
    b = -(gained + lost) + (2 * n - gained + lost) * delta
    c = -lost * delta * (1 - delta)
    p = (np.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = n * (2 * p + delta * (1 - delta))
    distance = gained - lost - n * delta
    if variance <= 0:
        return 0.0 if distance == 0 else np.inf * np.sign(distance)
    return float(distance / np.sqrt(variance))


def _crossing(function: Callable[[float], float], value: float, end: int) -> float:
    """Where a function crosses 0 between the estimate and -1 or 1, or that end if it does not."""
    if value == end:
        return float(end)
    # At the end itself the likelihood of most tables is 0.
    last = end * (1 - 1e-9)
    if function(value) * function(last) >= 0:
        return float(end)
    return float(optimize.brentq(function, value, last, xtol=1e-12))
