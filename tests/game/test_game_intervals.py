"""Intervals: coverage by simulation, the delta method against numerical differentiation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from iaside_onnx import estimate
from tests.support.oracle import distribution, score

Vector = NDArray[np.float64]

REPLICATES, IMAGES = 600, 40
EYE = np.eye(8)
CORRELATED = 0.7 + 0.3 * EYE
FALLING = np.diag([3.0, 2.0, 1.0, 0.7, 0.5, 0.4, 0.3, 0.2])
APART = [3.0, 2.0, 1.2, 0.8, 0.6, 0.4, 0.3, 0.0]
TWO_TIE = [3.0, 2.0, 1.2, 0.8, 0.6, 0.4, 0.2, 0.2]
FOUR_TIE = [3.0, 2.0, 1.2, 0.8, 0.2, 0.2, 0.2, 0.2]


@dataclass(frozen=True)
class Population:
    """Where the simulated images come from."""

    name: str
    mean: list[float]
    covariance: Vector


POPULATIONS = [
    Population("smallest is clear", APART, 0.04 * EYE),
    Population("smallest is not clear", APART, EYE),
    Population("two tie", TWO_TIE, 0.25 * EYE),
    Population("four tie, correlated", FOUR_TIE, CORRELATED),
    Population("four tie, unequal and correlated", FOUR_TIE, FALLING @ CORRELATED @ FALLING),
    Population("one of eight stands out", [1.1, *[1.0] * 7], 0.1 * EYE),
]


@dataclass
class Coverage:
    """How often the truth lay inside, each as a share of the replicates."""

    phi: Vector
    psi: Vector
    sis: float


def _simulate(population: Population) -> Coverage:
    rng = np.random.default_rng(7)
    mean, root = np.array(population.mean), np.linalg.cholesky(population.covariance)
    psi = distribution(mean)
    sis = score(psi)
    found = Coverage(np.zeros(8), np.zeros(8), 0.0)
    for _ in range(REPLICATES):
        result = estimate(mean + rng.standard_normal((IMAGES, 8)) @ root.T)
        found.phi += ((result.phi_low <= mean) & (mean <= result.phi_high)) / REPLICATES
        found.psi += ((result.psi_low <= psi) & (psi <= result.psi_high)) / REPLICATES
        found.sis += (result.sis_low <= sis <= result.sis_high) / REPLICATES
    return found


def _error(share: float) -> float:
    """Four standard errors of a share of the replicates."""
    return float(4 * np.sqrt(share * (1 - share) / REPLICATES))


@pytest.mark.parametrize("population", POPULATIONS, ids=lambda population: population.name)
def test_intervals_cover_the_truth(population: Population) -> None:
    """Too narrow where the smallest tie, as a bootstrap's, or phi too narrow or too wide."""
    found = _simulate(population)
    assert (np.abs(found.phi - 0.95) < _error(0.95)).all(), found
    assert (found.psi > 0.94 - _error(0.94)).all(), found
    assert found.sis > 0.94 - _error(0.94), found


def test_intervals_are_no_wider_than_need_be_where_the_smallest_is_clear() -> None:
    """An interval of [0, 1] covers everything, and says nothing."""
    found = _simulate(POPULATIONS[0])
    # The smallest band's own share is 0 for certain.
    assert (found.psi[:7] < 0.95 + _error(0.95) + 0.01).all(), found
    assert found.sis < 0.95 + _error(0.95) + 0.01, found


def test_phi_is_the_mean_with_students_t() -> None:
    units = np.random.default_rng(1).normal(size=(7, 3))
    result = estimate(units)
    for band in range(3):
        wanted = stats.t.interval(
            0.95, 6, loc=units[:, band].mean(), scale=stats.sem(units[:, band])
        )
        found = (result.phi_low[band], result.phi_high[band])
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
    np.testing.assert_allclose(result.phi, units.mean(axis=0))


def _slope(function: Callable[[Vector], Any], at: Vector) -> Vector:
    """Derivatives by central differences, ``(outputs, inputs)``."""
    step = 1e-6
    columns = [
        (np.asarray(function(at + step * e)) - np.asarray(function(at - step * e))) / (2 * step)
        for e in np.eye(at.size)
    ]
    return np.stack(columns, axis=-1)


def _relative_to(reference: int) -> Callable[[Vector], Vector]:
    """The distribution, were this band the smallest."""

    def psi(phi: Vector) -> Vector:
        above = phi - phi[reference]
        return np.asarray(above / above.sum())

    return psi


def _score_of(psi: Callable[[Vector], Vector]) -> Callable[[Vector], float]:
    return lambda phi: score(psi(phi))


def _by_differences(units: Vector, references: list[int]) -> tuple[Vector, Vector, float, float]:
    """Union over the references of delta-t intervals, of psi and SIS, with numerical slopes."""
    phi, n = units.mean(axis=0), len(units)
    covariance, t = np.cov(units.T) / n, stats.t.ppf(0.975, n - 1)
    psi_low, psi_high, sis_low, sis_high = [], [], [], []
    for reference in references:
        psi = _relative_to(reference)
        slope = _slope(psi, phi)
        margin = t * np.sqrt(np.diag(slope @ covariance @ slope.T))
        psi_low.append(psi(phi) - margin)
        psi_high.append(psi(phi) + margin)
        tilt = _slope(_score_of(psi), phi)
        reach = float(t * np.sqrt(tilt @ covariance @ tilt))
        middle = score(psi(phi))
        # The score is a distance: it cannot fall below 0.
        sis_low.append(max(middle - reach, 0.0))
        sis_high.append(middle + reach)
    low, high = np.clip(np.min(psi_low, axis=0), 0, 1), np.clip(np.max(psi_high, axis=0), 0, 1)
    return low, high, min(sis_low), min(max(sis_high), 1.0)


@pytest.mark.parametrize(
    ("mean", "smallest"),
    [
        ([3.0, 2.0, 1.0, 0.7, 0.0], [4]),
        ([3.0, 2.0, 1.0, 0.0, 0.0], [3, 4]),
        ([0.0, 0.0, 0.2, 1.0, 3.0], [0, 1]),
    ],
)
def test_margins_are_the_delta_method(mean: list[float], smallest: list[int]) -> None:
    """A slip in the Jacobian, or a reference left out of the union."""
    rng = np.random.default_rng(11)
    units = rng.standard_normal((60, 5)) @ (0.2 * np.eye(5) + 0.05)
    units += np.array(mean) - units.mean(axis=0)
    result = estimate(units)
    assert list(result.smallest) == smallest
    low, high, sis_low, sis_high = _by_differences(units, smallest)
    np.testing.assert_allclose(result.psi_low, low, rtol=0, atol=1e-7)
    np.testing.assert_allclose(result.psi_high, high, rtol=0, atol=1e-7)
    assert result.sis_low == pytest.approx(sis_low, abs=1e-7)
    assert result.sis_high == pytest.approx(sis_high, abs=1e-7)


def test_a_score_near_zero_folds_over() -> None:
    """The interval would be negative, or would leave out the zero that lies inside."""
    # Shares of bands 0, 1 and 3 that sum to 1, with a weighted mean of eta and 0.4 in band 1.
    rng = np.random.default_rng(5)
    above = np.linalg.solve(
        np.array([[1.0, 1.0, 1.0], [1.0, 0.75, 0.75**3], [0.0, 1.0, 0.0]]),
        np.array([1.0, (1 + 0.75 + 0.75**2 + 0.75**3) / 4, 0.4]),
    )
    phi = np.array([above[0], above[1], 0.0, above[2]])
    assert score(distribution(phi)) < 1e-12
    noise = rng.standard_normal((50, 4)) * 0.05
    result = estimate(phi + 0.001 + noise - noise.mean(axis=0))
    assert result.sis_low == 0.0
    assert 0.001 < result.sis_high < 0.2


def test_which_bands_may_be_the_smallest() -> None:
    """Deviations are made by hand: the standard error of each difference is known."""
    # Columns of +-1 that are orthogonal: variance 8/7, so the error of a difference of two bands
    # with deviations a and b is sqrt((a^2 + b^2) / 7).
    signs = np.array(
        [[(-1) ** (row >> column & 1) for column in range(3)] for row in range(8)], dtype=float
    )
    units = np.zeros((8, 4))
    units[:, 1:] = signs * [0.0, 1.0, 3.0]
    errors = np.sqrt(np.array([0.0, 0.0, 1.0, 9.0]) / 7)
    # Band 0 is the smallest and certain; band 1 is certain too, and just above.
    for nudge, smallest in ((0.99, (0, 2, 3)), (1.01, (0,))):
        result = estimate(units + np.array([0.0, 1e-9, 0.0, 0.0]) + 2.24 * errors * nudge)
        assert result.smallest == smallest
    # Deviations that go together cancel out of the difference, so what looks close is not.
    together = np.repeat(signs[:, :1] * 3.0, 4, axis=1) + np.arange(4) * 0.01
    assert estimate(together).smallest == (0,)


def test_one_image_has_no_intervals() -> None:
    """A width of zero would pass for certainty."""
    result = estimate(np.array([[1.0, 0.5, 0.2]]))
    np.testing.assert_allclose(result.psi, distribution(np.array([1.0, 0.5, 0.2])))
    assert result.sis == pytest.approx(score(result.psi))
    bounds = (result.phi_low, result.phi_high, result.psi_low, result.psi_high)
    assert all(np.isnan(bound).all() for bound in bounds)
    assert np.isnan(result.sis_low)
    assert np.isnan(result.sis_high)
    assert result.smallest == ()
    assert not result.uniform


def test_equal_contributions_are_flagged_and_anything_may_be() -> None:
    """Means that happen to be equal say nothing of the distribution."""
    noise = np.array([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0]])
    result = estimate(noise + 2.0)
    assert result.uniform
    assert result.psi.tolist() == [1 / 3] * 3
    assert (result.sis, result.sis_low, result.sis_high) == (0.0, 0.0, 1.0)
    assert result.psi_low.tolist() == [0.0] * 3
    assert result.psi_high.tolist() == [1.0] * 3
    assert result.smallest == (0, 1, 2)


def test_equal_contributions_in_every_image_are_certain() -> None:
    """A model that is indifferent to all bands: uniform by convention, without doubt."""
    result = estimate(np.full((5, 4), 0.25))
    assert result.uniform
    assert result.psi.tolist() == result.psi_low.tolist() == result.psi_high.tolist() == [0.25] * 4
    assert (result.sis, result.sis_low, result.sis_high) == (0.0, 0.0, 0.0)


def test_bounds_hold_what_they_bound() -> None:
    """Whatever the data, low <= estimate <= high, and shares stay shares."""
    rng = np.random.default_rng(3)
    for n in (2, 3, 30):
        for _ in range(50):
            units = rng.standard_normal((n, 6)) * rng.choice([0.0, 0.1, 3.0]) + rng.choice(
                [0.0, 1.0], 6
            )
            result = estimate(units)
            assert (result.psi_low <= result.psi + 1e-12).all()
            assert (result.psi <= result.psi_high + 1e-12).all()
            assert 0 <= result.sis_low <= result.sis + 1e-12
            assert result.sis <= result.sis_high + 1e-12 <= 1 + 2e-12
            assert ((result.psi_low >= 0) & (result.psi_high <= 1)).all()
