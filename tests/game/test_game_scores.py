"""The distribution psi and the score SIS: by hand, and their invariances."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from iaside_onnx import spectral_distribution, spectral_importance_score
from iaside_onnx.game import is_uniform, score_weights
from tests.support.oracle import distribution, score

Vector = NDArray[np.float64]

PHIS = st.integers(2, 16).flatmap(
    lambda bands: arrays(
        np.float64, bands, elements=st.sampled_from([-2.0, 0.0, 0.0, 1.5]) | st.floats(-80, 80)
    )
)


def spread(phi: Vector) -> float:
    return float(np.ptp(phi))


@given(PHIS)
def test_psi_is_a_distribution(phi: Vector) -> None:
    """A share below 0, or shares that do not sum to 1, would be no distribution."""
    psi = spectral_distribution(phi)
    assert psi.shape == phi.shape
    assert (psi >= 0).all()
    assert psi.sum() == pytest.approx(1, abs=1e-12)


@given(PHIS)
def test_psi_is_as_defined(phi: Vector) -> None:
    assume(spread(phi) > 1e-9)
    np.testing.assert_allclose(spectral_distribution(phi), distribution(phi), rtol=0, atol=1e-12)


@given(PHIS, st.floats(-50, 50), st.floats(0.1, 10))
def test_psi_does_not_change_with_shift_and_scale(phi: Vector, shift: float, scale: float) -> None:
    """Another unit, or a constant added to every band, would move the score."""
    assume(spread(phi) > 1e-3)
    np.testing.assert_allclose(
        spectral_distribution(scale * phi + shift), spectral_distribution(phi), rtol=0, atol=1e-9
    )


@given(st.integers(2, 64), st.floats(-1e3, 1e3))
def test_equal_contributions_are_uniform_and_score_exactly_zero(bands: int, value: float) -> None:
    """0/0, or a score of 1e-17 that is printed as if it were one."""
    phi = np.full(bands, value)
    assert is_uniform(phi)
    psi = spectral_distribution(phi)
    assert psi.tolist() == [1 / bands] * bands
    assert spectral_importance_score(psi) == 0.0


def test_contributions_that_differ_by_rounding_alone_are_uniform() -> None:
    """Otherwise the last bit decides which band gets all."""
    phi = np.array([0.1 + 0.2, 0.3, 0.3])
    assert phi[0] != phi[1]
    assert is_uniform(phi)
    assert spectral_distribution(phi).tolist() == [1 / 3] * 3
    assert not is_uniform(np.array([0.3, 0.3, 0.3 + 1e-9]))


@given(PHIS)
def test_score_lies_in_0_1_and_is_as_defined(phi: Vector) -> None:
    psi = spectral_distribution(phi)
    sis = spectral_importance_score(psi)
    assert 0 <= sis < 1
    assert sis == pytest.approx(score(psi), abs=1e-12)


@pytest.mark.parametrize("bands", range(2, 65))
def test_all_on_the_lowest_band_is_the_highest_score(bands: int) -> None:
    """The weights would not fall from low to high, or a score would reach 1."""
    scores = [spectral_importance_score(row) for row in np.eye(bands)]
    assert max(scores) == scores[0] < 1


def test_scores_by_hand() -> None:
    """Beta = 1, 3/4 (norm 5/4), and 1, 3/4, 9/16 (norm sqrt(481)/16)."""
    # M = 2: unit = (4/5, 3/5), eta = 7/10; psi = (1, 0): (8/10 - 7/10) / (3/10) = 1/3.
    assert spectral_importance_score(np.array([1.0, 0.0])) == pytest.approx(1 / 3)
    # psi = (0, 1): |6/10 - 7/10| / (3/10): both ends of two bands score the same.
    assert spectral_importance_score(np.array([0.0, 1.0])) == pytest.approx(1 / 3)
    # psi = (3/4, 1/4): (3/5 + 3/20 - 7/10) / (3/10) = 1/6.
    assert spectral_importance_score(np.array([0.75, 0.25])) == pytest.approx(1 / 6)
    # M = 3: unit = (16, 12, 9) / sqrt(481), eta = 37 / (3 sqrt(481)).
    root = math.sqrt(481)
    eta = 37 / (3 * root)
    for psi, weight in (((1.0, 0.0, 0.0), 16.0), ((0.0, 0.5, 0.5), 10.5), ((0.5, 0.5, 0.0), 14.0)):
        wanted = abs(weight / root - eta) / (1 - eta)
        assert spectral_importance_score(np.array(psi)) == pytest.approx(wanted)


@pytest.mark.parametrize("bands", [2, 8, 64])
def test_weights_are_the_powers_of_three_quarters(bands: int) -> None:
    unit, eta = score_weights(bands)
    assert np.linalg.norm(unit) == pytest.approx(1)
    np.testing.assert_allclose(unit[1:] / unit[:-1], 0.75)
    assert eta == pytest.approx(unit.sum() / bands)
