"""Intervals over blocks: against the textbook's formulas, and by coverage in simulation."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from iaside_onnx import Estimate, shapley_values, spectral_distribution, spectral_importance_score
from iaside_onnx.game import PairedDesign, block_moments, draw_order, estimate, estimate_moments

M = 4
RNG = np.random.default_rng(0)


def halves(n: int, bands: int = M) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return RNG.standard_normal((n, bands)), RNG.standard_normal((n, bands))


def test_blocks_of_equal_size_give_the_spread_of_their_means() -> None:
    """The images of a block are not independent; as if they were, intervals are wrong."""
    a, b = halves(64)
    found = estimate_moments(block_moments(a, b, np.arange(64) // 4))
    means = ((a + b) / 2).reshape(16, 4, M).mean(axis=1)
    np.testing.assert_allclose(found.phi, means.mean(axis=0))
    np.testing.assert_allclose(found.standard_error, means.std(axis=0, ddof=1) / 4)
    same = estimate(means)
    for name in ("phi_low", "phi_high", "psi_low", "psi_high", "sis_low", "sis_high"):
        np.testing.assert_allclose(getattr(found, name), getattr(same, name))


def test_strata_leave_out_what_classes_differ_by() -> None:
    """Stratified sampling, one image a block: W^2 s^2 / n summed over classes (Cochran, 5.6)."""
    classes = np.repeat(np.arange(3), 40)
    a, b = halves(120)
    shift = 10.0 * classes[:, None]
    order = RNG.permutation(120)
    a, b, classes = (a + shift)[order], (b + shift)[order], classes[order]
    found = estimate_moments(block_moments(a, b, np.arange(120), classes))
    units = (a + b) / 2
    variance = sum(units[classes == c].var(axis=0, ddof=1) / 9 / 40 for c in range(3))
    np.testing.assert_allclose(found.standard_error, np.sqrt(variance), rtol=1e-12)
    plain = estimate_moments(block_moments(a, b, np.arange(120)))
    assert (plain.standard_error > 5 * found.standard_error).all()


def test_strata_of_less_than_two_blocks_are_left_out() -> None:
    """With one image a class there is no spread within classes, and no error at all."""
    a, b = halves(64)
    blocks, classes = np.arange(64) // 4, np.arange(64) % 9
    with_classes = estimate_moments(block_moments(a, b, blocks, classes))
    plain = estimate_moments(block_moments(a, b, blocks))
    np.testing.assert_array_equal(with_classes.standard_error, plain.standard_error)


def test_all_images_of_a_population_known_exactly_leave_no_error() -> None:
    """About these images alone, nothing is uncertain when all is evaluated; nor beyond them."""
    a, _ = halves(40)
    found = estimate_moments(block_moments(a, a, np.arange(40), None, 40))
    np.testing.assert_allclose(found.standard_error, 0, atol=1e-7)
    half = estimate_moments(block_moments(a, a, np.arange(40), None, 80))
    whole = estimate_moments(block_moments(a, a, np.arange(40)))
    # 1 - n / N, but for n - 1 in place of n.
    np.testing.assert_allclose(half.standard_error**2, whole.standard_error**2 / 2, rtol=1e-9)
    assert estimate(a, 40).standard_error.max() == 0
    np.testing.assert_allclose(
        estimate(a, 80).standard_error ** 2, estimate(a).standard_error ** 2 / 2
    )


def test_few_blocks_count_as_their_images() -> None:
    """Seven blocks know nothing of the covariance of 32 bands: some would be certain by luck."""
    a, b = halves(36)
    found = estimate_moments(block_moments(a, b, np.arange(36) // 4))
    same = estimate((a + b) / 2)
    np.testing.assert_allclose(found.phi_low, same.phi_low)
    np.testing.assert_allclose(found.sis_high, same.sis_high)


def test_one_image_says_nothing_of_the_error() -> None:
    """Zero width from a single image, as if all were certain."""
    a, b = halves(1)
    found = estimate_moments(block_moments(a, b, np.zeros(1, dtype=np.int64)))
    assert np.isnan(found.phi_low).all()
    assert np.isnan(found.sis_high)
    assert np.isnan(found.standard_error).all()


class Population:
    """Random games of 300 images in 6 classes of different means; two bands tie for the least."""

    bands = 6
    images = 300

    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        self.classes = np.arange(self.images) % 6
        members = np.arange(64)[:, None] >> np.arange(self.bands) & 1
        means = np.array([2.0, 1.2, 0.8, 0.5, 0.1, 0.1])
        own = means + 0.5 * rng.standard_normal((self.images, self.bands))
        own[:, 0] += 0.8 * (self.classes - 2.5)
        # Interactions of random pairs make the gains depend on the order.
        pairs = rng.standard_normal((self.images, self.bands, self.bands)) * 0.3
        self.worth = own @ members.T + np.einsum("si,nij,sj->ns", members, pairs, members)
        phi = shapley_values(self.worth)
        # Ties in the mean, exactly.
        correction = (phi[:, 4] - phi[:, 5]).mean()
        self.worth += correction * members[:, 5]
        self.phi = shapley_values(self.worth)

    def sample(self, seed: int, images: int, *, once: bool) -> Estimate:
        copies = 1 if once else 20
        order = draw_order(np.tile(self.classes, copies), self.images * copies, seed)[:images]
        own = order % self.images
        design, draws = PairedDesign(self.bands, seed), np.arange(images)
        masks = np.array([design.coalitions(d, 0, 12) for d in range(images)]).astype(np.int64)
        forward, backward = design.gains(self.worth[own[:, None], masks], draws, 0, 1)
        return estimate_moments(
            block_moments(
                forward,
                backward,
                draws // self.bands,
                self.classes[own],
                self.images if once else None,
            )
        )


@pytest.mark.parametrize(
    ("once", "images"),
    [
        (False, 30),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in ((False, 120), (False, 123), (True, 150))
        ),
    ],
)
def test_intervals_cover(once: bool, images: int) -> None:
    """Nominal 95 % that is 80 %: a sample that claims what it does not know. Ties included."""
    population = Population()
    truth = population.phi.mean(axis=0)
    psi = spectral_distribution(truth)
    sis = spectral_importance_score(psi)
    replicates = 500
    phi_covered = psi_covered = sis_covered = 0.0
    for seed in range(replicates):
        found = population.sample(seed, images, once=once)
        phi_covered += ((found.phi_low <= truth) & (truth <= found.phi_high)).mean()
        inside = (found.psi_low <= psi + 1e-12) & (psi <= found.psi_high + 1e-12)
        psi_covered += inside.mean()
        sis_covered += found.sis_low <= sis <= found.sis_high
    # Binomial error is 1 %; finite populations and few blocks are on the safe side.
    assert 0.93 <= phi_covered / replicates <= (0.975 if images in (120, 123) else 1.0)
    assert psi_covered / replicates >= 0.94
    assert sis_covered / replicates >= 0.93
