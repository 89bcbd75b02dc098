"""Differences of two decompositions: against textbook formulas, and by coverage in simulation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from iaside_onnx import spectral_distribution, spectral_importance_score
from iaside_onnx.game import Moments, differences, joint_moments, score_weights

M = 4
RNG = np.random.default_rng(0)
Units = NDArray[np.float64]


def correlated(n: int, shift: float = 0.0) -> tuple[Units, Units]:
    """Two decompositions that answer alike about the same images, means far apart from ties."""
    base = RNG.standard_normal((n, M)) * 2 + [6.0, -1.0, 1.0, 2.0]
    return base, base + shift + 0.1 * RNG.standard_normal((n, M))


def ends(test: Any, level: float) -> tuple[float, float]:
    """The interval of a t test of SciPy, whose types are loose."""
    found = test.confidence_interval(level)
    return float(found.low), float(found.high)


def own(n: int) -> NDArray[np.int64]:
    return np.arange(n)


def joint(a: Units, b: Units) -> Moments:
    return joint_moments((a[None], b[None]), (own(len(a)), own(len(b))))


def test_phi_has_the_paired_t_interval_of_all_bands_together() -> None:
    """As if samples were independent, intervals of nearly equal models are ten times too wide."""
    a, b = correlated(60, 0.05)
    found = differences(joint(a, b))
    for band in range(M):
        plain = ends(stats.ttest_rel(b[:, band], a[:, band]), 1 - 0.05 / M)
        np.testing.assert_allclose((found.phi_low[band], found.phi_high[band]), plain, rtol=1e-9)


def test_several_comparisons_share_the_level() -> None:
    """Of twenty archives one would differ by chance."""
    a, b = correlated(60)
    found = differences(joint(a, b), comparisons=5)
    plain = ends(stats.ttest_rel(b[:, 0], a[:, 0]), 1 - 0.05 / M / 5)
    np.testing.assert_allclose(found.phi_high[0], plain[1], rtol=1e-9)


def test_distribution_and_score_by_the_jackknife() -> None:
    """Where one band is the smallest by far, delta intervals are those of the jackknife."""
    a, b = correlated(2000, 0.05)
    found = differences(joint(a, b))

    def both(rows: NDArray[np.bool_]) -> Units:
        psi = [spectral_distribution(one[rows].mean(axis=0)) for one in (a, b)]
        score = spectral_importance_score(psi[1]) - spectral_importance_score(psi[0])
        return np.append(psi[1] - psi[0], score)

    n = len(a)
    whole = both(np.ones(n, dtype=np.bool_))
    left_out = np.array([both(np.arange(n) != row) for row in range(n)])
    error = np.sqrt((n - 1) / n * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
    np.testing.assert_allclose(np.append(found.psi, found.sis), whole, rtol=1e-9)
    several, one = (float(stats.t.ppf(level, n - 1)) for level in (1 - 0.025 / M, 0.975))
    np.testing.assert_allclose(
        found.psi_high - found.psi, several * error[:M], rtol=0.02, atol=1e-9
    )
    np.testing.assert_allclose(found.sis_high - found.sis, one * error[M], rtol=0.02)
    np.testing.assert_allclose(found.sis - found.sis_low, one * error[M], rtol=0.02)


def test_equal_decompositions_do_not_differ() -> None:
    """Also where smallest bands tie: an interval of some width would say that they may differ."""
    a = RNG.standard_normal((50, M)) * 3
    found = differences(joint(a, a.copy()))
    assert len(found.smallest[0]) > 1
    for bound in (found.phi_low, found.phi_high, found.psi_low, found.psi_high):
        np.testing.assert_allclose(bound, 0, atol=1e-7)
    assert abs(found.sis_low) < 1e-7
    assert abs(found.sis_high) < 1e-7


def test_which_band_is_the_smallest_may_be_open_in_one_of_them() -> None:
    """The envelope holds the interval of each band as the reference, not the estimate's alone."""
    a, _ = correlated(80)
    b = RNG.standard_normal((80, M)) * 2 + [6.0, 0.0, 0.0, 2.0]
    found = differences(joint(a, b))
    assert set(found.smallest[1]) >= {1, 2}
    assert found.smallest[0] == (1,)
    # With band 1 as the smallest of the second, psi of band 1 is 0 there, and so is that of 2.
    assert found.psi_low[1] <= 0 <= found.psi_high[1]
    assert found.psi_high[1] > 0.01


def test_one_image_leaves_bounds_undefined() -> None:
    """A bound that is there would be made up."""
    a, b = correlated(1)
    found = differences(joint(a, b))
    assert np.isnan([*found.phi_low, *found.psi_high, found.sis_low, found.sis_high]).all()
    np.testing.assert_allclose(found.phi, (b - a)[0])


def test_blocks_of_one_of_them_are_the_units() -> None:
    """An exact decomposition beside a sampled one: images of a block are not independent."""
    a, b = correlated(120)
    blocks = own(120) // 4
    found = differences(joint_moments((a[None], np.stack([b, b])), (own(120), blocks)))
    means = (b - a).reshape(30, 4, M).mean(axis=1)
    plain = ends(stats.ttest_1samp(means[:, 0], 0), 1 - 0.05 / M)
    np.testing.assert_allclose((found.phi_low[0], found.phi_high[0]), plain, rtol=1e-9)


def test_equal_blocks_are_the_units_and_different_ones_are_not() -> None:
    """Two samples with other permutations share no block, so that each image is a unit."""
    a, b = correlated(120)
    blocks, others = own(120) // 4, own(120)[::-1] // 5
    same = differences(joint_moments((a[None], b[None]), (blocks, blocks)))
    means = (b - a).reshape(30, 4, M).mean(axis=1)
    plain = ends(stats.ttest_1samp(means[:, 1], 0), 1 - 0.05 / M)
    np.testing.assert_allclose((same.phi_low[1], same.phi_high[1]), plain, rtol=1e-9)
    apart = differences(joint_moments((a[None], b[None]), (blocks, others)))
    plain = ends(stats.ttest_rel(b[:, 1], a[:, 1]), 1 - 0.05 / M)
    np.testing.assert_allclose((apart.phi_low[1], apart.phi_high[1]), plain, rtol=1e-9)


def test_where_ties_are_common_to_both_the_difference_stays_small() -> None:
    """Two smallest bands tie, in both: models that are nearly equal would differ by that tie."""
    a = RNG.standard_normal((100, M)) * 2 + [6.0, 0.0, 0.0, 3.0]
    a[:, 2] += a[:, 1].mean() - a[:, 2].mean() + 0.1
    b = a + 1e-4 * RNG.standard_normal((100, M))
    found = differences(joint(a, b))
    assert set(found.smallest[0]) == {1, 2}
    assert np.abs([found.psi_low, found.psi_high]).max() < 1e-4
    assert found.sis_high - found.sis_low < 1e-4


def test_scores_near_zero_are_covered() -> None:
    """A score is an absolute value: where its sign is open, the wrong one misses every other."""
    rng = np.random.default_rng(5)
    unit, eta = score_weights(3)
    # psi is (p, 1 - p, 0), and the score p (u0 - u1) + u1 - eta in absolute value.
    zero = (eta - unit[1]) / (unit[0] - unit[1])
    error = 0.01

    def means(distance: float) -> Units:
        share = zero + distance * error
        return 10 * np.array([share, 1 - share, 0.0])

    true = np.concatenate([means(0.7), means(0.2)])
    moved = np.outer([1, -1, 0], [1, -1, 0]) * (10 * error) ** 2
    covariance = np.block([[moved, -0.95 * moved], [-0.95 * moved, moved]])
    scores = [spectral_importance_score(spectral_distribution(one)) for one in np.split(true, 2)]
    wanted, inside, trials = scores[1] - scores[0], 0, 400
    for drawn in rng.multivariate_normal(true, covariance, size=trials):
        found = differences(Moments(drawn, covariance, 10**6))
        inside += found.sis_low <= wanted <= found.sis_high
    assert inside / trials >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / trials)


def test_contributions_that_are_all_equal_have_no_distribution() -> None:
    """Then anything may be the difference; a number would be a convention taken for a result."""
    a = RNG.standard_normal((30, 1)) * np.ones(M)
    b, _ = correlated(30)
    found = differences(joint(a, b))
    assert (found.psi_low == -1).all()
    assert (found.sis_low, found.sis_high) == (-1, 1)


@pytest.mark.parametrize("n", [50, 200])
def test_all_bands_together_are_covered(n: int) -> None:
    """In 95 % of samples every band's difference is in its interval, up to 3 standard errors."""
    rng = np.random.default_rng(n)
    shape = rng.standard_normal((M, M))
    means = np.array([[3.0, 0.0, 0.5, 1.0], [2.0, 0.2, 0.1, 1.5]])
    psi = spectral_distribution(means[1]) - spectral_distribution(means[0])
    inside = np.zeros(2)
    trials = 300
    for _ in range(trials):
        common = rng.standard_normal((n, M)) @ shape
        a = common + rng.standard_normal((n, M)) + means[0]
        b = common + rng.standard_normal((n, M)) + means[1]
        found = differences(joint(a, b))
        right = means[1] - means[0]
        inside += [
            ((found.phi_low <= right) & (right <= found.phi_high)).all(),
            ((found.psi_low <= psi) & (psi <= found.psi_high)).all(),
        ]
    least = 0.95 - 3 * np.sqrt(0.95 * 0.05 / trials)
    assert (inside / trials >= least).all()
