"""What every `Design` promises, as a class of tests that the tests of each design inherit.

A game is a table of the worth of every coalition. What a design must find is computed from the
table by walking along permutations, without any code of the package.
"""

from __future__ import annotations

import pickle
from abc import ABC
from itertools import permutations

import numpy as np
import pytest
from numpy.typing import NDArray

from iaside_onnx.errors import OptionError
from iaside_onnx.game import Design, design_names, design_type, make_design

__all__ = ["DesignContract", "random_games", "shapley_by_permutations"]

Games = NDArray[np.float64]
"""Worths of all coalitions by bit mask, ``(n, 2**bands)``."""

SEEDS = 300


def random_games(n: int, bands: int, seed: int = 0) -> Games:
    """Worths without any structure, ``(n, 2**bands)``."""
    return np.asarray(np.random.default_rng([seed, bands]).standard_normal((n, 1 << bands)))


def shapley_by_permutations(game: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean gain of each band over all orders in which bands can join, ``(bands,)``."""
    bands = game.size.bit_length() - 1
    total = np.zeros(bands)
    orders = list(permutations(range(bands)))
    for order in orders:
        mask = 0
        for band in order:
            total[band] += game[mask | 1 << band] - game[mask]
            mask |= 1 << band
    return total / len(orders)


class DesignContract(ABC):
    """Tests of one design.

    Attributes:
        design: its class.
        exact: whether the gains of one image are its Shapley values, and no estimates of them.
    """

    design: type[Design]
    exact: bool = False

    def make(self, bands: int = 4, seed: int = 0) -> Design:
        return self.design(bands, seed)

    def replicates(self, design: Design) -> int:
        """How many replicates an image has after all passes."""
        return design.passes[-1].last

    def masks(self, design: Design, draw: int) -> NDArray[np.int64]:
        """All coalitions of one image."""
        slots = design.passes[-1].stop
        return np.asarray(design.coalitions(draw, 0, slots)).astype(np.int64)

    def worths(self, design: Design, games: Games, draws: NDArray[np.int64]) -> Games:
        """The worths that a run would have, ``(n, slots)``."""
        rows = [game[self.masks(design, draw)] for game, draw in zip(games, draws, strict=True)]
        return np.array(rows)

    def gains(
        self, design: Design, games: Games, draws: NDArray[np.int64], first: int, last: int
    ) -> NDArray[np.float64]:
        return np.asarray(design.gains(self.worths(design, games, draws), draws, first, last))

    def per_image(
        self, design: Design, games: Games, draws: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """The estimate of each image from all replicates, ``(n, bands)``."""
        count = self.replicates(design)
        return np.asarray(self.gains(design, games, draws, 0, count).mean(axis=0) / count)

    def test_its_name_makes_it(self) -> None:
        """An archive of this design cannot be verified, extended or merged."""
        design = self.make(3, 7)
        assert design.name in design_names()
        assert design_type(design.name) is self.design
        assert make_design(design.name, 3, 7) == design
        # As `iaside_onnx.runs.Recipe` has it, workers make their own.
        assert pickle.loads(pickle.dumps(design)) == design  # noqa: S301 - made right here

    @pytest.mark.parametrize("offset", [-1, 1])
    def test_the_number_of_bands_is_checked(self, offset: int) -> None:
        """Masks of too many bits wrap around, or memory runs out."""
        bands = 1 if offset < 0 else self.design.max_bands + 1
        with pytest.raises(OptionError, match=f"from 2 to {self.design.max_bands} .*found {bands}"):
            self.make(bands)

    @pytest.mark.parametrize("bands", [2, 3, 5, 8, -1])
    def test_slots_hold_coalitions_of_the_bands(self, bands: int) -> None:
        """Bits above the bands, a first slot that is not empty, a full slot that is not full."""
        bands = bands if bands > 0 else self.design.max_bands
        design = self.make(bands, 3)
        slots = design.passes[-1].stop
        for draw in (0, 1, 5 * bands + 2, 10**6):
            masks = design.coalitions(draw, 0, slots)
            assert masks.dtype == np.uint64
            assert masks.shape == (slots,)
            assert int(masks[0]) == 0
            assert int(masks[design.full_slot]) == (1 << bands) - 1
            assert all(int(mask) >> bands == 0 for mask in masks)
            # Nothing is evaluated twice.
            assert np.unique(masks).size == slots

    @pytest.mark.parametrize("bands", [2, 3, 5, 8])
    def test_passes_fill_all_slots_one_after_the_other(self, bands: int) -> None:
        """A worth that is never evaluated, or evaluated twice, or replicates without a slot."""
        design = self.make(bands)
        assert design.passes[0].first == design.passes[0].start == 0
        for now, after in zip(design.passes, design.passes[1:], strict=False):
            assert (now.last, now.stop) == (after.first, after.start)
        for now in design.passes:
            assert now.first < now.last
            assert now.start < now.stop
            assert design.slots(now.last) == now.stop
            # The two that are at the ends of every image come in the first pass.
            assert 0 <= design.full_slot % design.passes[0].stop < design.passes[0].stop

    @pytest.mark.parametrize("end_evaluations", [1, 2, 3])
    def test_a_pass_costs_what_it_evaluates(self, end_evaluations: int) -> None:
        """A budget that is exceeded, or left unspent."""
        design = self.make(5)
        for number, now in enumerate(design.passes):
            width = now.stop - now.start
            most = width - 2 + max(end_evaluations, 2) if number == 0 else width
            assert width - 2 <= design.evaluations(number, end_evaluations) <= most

    def test_coalitions_depend_on_seed_and_draw_alone(self) -> None:
        """Shards, workers and resumption change the coalitions of an image."""
        alone = self.masks(self.make(6, 7), 1000)
        design = self.make(6, 7)
        for draw in (3, 999, 0, 1000):
            self.masks(design, draw)
        np.testing.assert_array_equal(self.masks(design, 1000), alone)
        slots = alone.size
        for start, stop in ((0, 2), (1, slots), (slots // 2, slots), (2, 2)):
            part = design.coalitions(1000, start, stop).astype(np.int64)
            np.testing.assert_array_equal(part, alone[start:stop])
        differ = [(self.masks(self.make(6, s), 1000) != alone).any() for s in range(8, 12)]
        assert any(differ) != design.shared
        assert (self.masks(design, 0) == alone).all() or not design.shared

    def test_the_order_of_the_draw_is_a_permutation(self) -> None:
        """An image that is never drawn, or drawn twice."""
        design = self.make(4, 5)
        for strata in (None, np.arange(23) % 3):
            order = design.order(strata, 23)
            assert order.dtype == np.int64
            np.testing.assert_array_equal(np.sort(order), np.arange(23))
            np.testing.assert_array_equal(order, self.make(4, 5).order(strata, 23))

    @pytest.mark.parametrize("bands", [2, 3, 5])
    def test_contributions_of_each_image_sum_to_the_whole(self, bands: int) -> None:
        """Efficiency: shares of a model's predictive power that do not add up to it."""
        design, games, draws = self.make(bands, 1), random_games(9, bands), np.arange(9)
        whole = games[:, -1] - games[:, 0]
        for now in design.passes:
            count = now.last - now.first
            found = self.gains(design, games, draws, now.first, now.last) / count
            np.testing.assert_allclose(found.mean(axis=0).sum(axis=1), whole, rtol=0, atol=1e-12)

    @pytest.mark.parametrize("bands", [2, 3, 4, 5])
    def test_the_expectation_is_the_shapley_value(self, bands: int) -> None:
        """Bias. Where the design is exact every single image is right."""
        game = random_games(1, bands, 3)
        found = np.array(
            [self.per_image(self.make(bands, s), game, np.array([s % 7]))[0] for s in range(SEEDS)]
        )
        wanted = shapley_by_permutations(game[0])
        if self.exact:
            np.testing.assert_allclose(found, np.tile(wanted, (SEEDS, 1)), rtol=0, atol=1e-12)
        spread = found.std(axis=0, ddof=1) / np.sqrt(SEEDS)
        # Beyond 4 standard errors by chance: less than once in 3,000 for 5 bands.
        assert (np.abs(found.mean(axis=0) - wanted) <= 4 * spread + 1e-12).all()

    def test_bands_that_play_alike_get_the_same(self) -> None:
        """Symmetry, in expectation: a design that favours low bands."""
        game = random_games(1, 4, 5)
        masks = np.arange(16)
        exchanged = masks & 0b1001 | (masks & 0b0010) << 1 | (masks & 0b0100) >> 1
        game = (game + game[:, exchanged]) / 2
        found = np.array(
            [self.per_image(self.make(4, s), game, np.array([s % 7]))[0] for s in range(SEEDS)]
        )
        difference = found[:, 1] - found[:, 2]
        spread = difference.std(ddof=1) / np.sqrt(SEEDS)
        assert abs(difference.mean()) <= 4 * spread + 1e-12

    def test_a_band_that_adds_a_constant_gets_that_constant(self) -> None:
        """The dummy axiom, for every image: a gain that is given to the neighbour of its band."""
        design, games, draws = self.make(5, 2), random_games(8, 5), np.arange(8)
        masks = np.arange(32)
        dummy = games[:, masks & ~0b00100] + 0.7 * (masks >> 2 & 1)
        found = self.per_image(design, dummy, draws)
        np.testing.assert_allclose(found[:, 2], 0.7, rtol=0, atol=1e-12)
        # Where each band adds a constant, every estimate is exact.
        weights = np.array([1.5, -2.0, 0.0, 0.25, 3.0])
        additive = (masks[:, None] >> np.arange(5) & 1) @ weights
        found = self.per_image(design, np.tile(additive, (8, 1)), draws)
        np.testing.assert_allclose(found, np.tile(weights, (8, 1)), rtol=0, atol=1e-12)

    def test_gains_are_linear(self) -> None:
        """The mean over images would not be the contribution to the mean of their worths."""
        design, draws = self.make(5, 2), np.array([4, 17, 3])
        u, w = random_games(3, 5, 1), random_games(3, 5, 2)
        found = self.per_image(design, 2.5 * u - 0.5 * w, draws)
        parts = 2.5 * self.per_image(design, u, draws) - 0.5 * self.per_image(design, w, draws)
        np.testing.assert_allclose(found, parts, rtol=0, atol=1e-12)

    def test_gains_of_passes_add_up(self) -> None:
        """A run that stops after each pass, or is extended, gives another result."""
        design, games, draws = self.make(6, 4), random_games(7, 6), np.arange(40, 47)
        worth, last = self.worths(design, games, draws), self.replicates(design)
        whole = design.gains(worth, draws, 0, last)
        total = np.zeros_like(whole)
        for now in design.passes:
            total += design.gains(worth[:, : now.stop], draws, now.first, now.last)
        np.testing.assert_allclose(total, whole, rtol=0, atol=1e-12)
        assert whole.dtype == np.float64
        assert whole.shape[1:] == (7, 6)

    def test_an_image_does_not_depend_on_those_beside_it(self) -> None:
        """Another cut into shards gives another result."""
        design, games, draws = self.make(5, 4), random_games(7, 5), np.arange(3, 10)
        together = self.per_image(design, games, draws)
        for row in range(7):
            alone = self.per_image(design, games[[row]], draws[[row]])
            np.testing.assert_array_equal(alone[0], together[row])

    def test_a_worth_that_is_missing_leaves_no_number(self) -> None:
        """A contribution that looks like one, of an image that was not evaluated."""
        design, games, draws = self.make(4, 1), random_games(3, 4), np.arange(3)
        worth, last = self.worths(design, games, draws), self.replicates(design)
        worth[1, 2] = np.nan
        found = design.gains(worth, draws, 0, last).mean(axis=0)
        assert np.isnan(found[1]).any()
        assert np.isfinite(found[[0, 2]]).all()

    @pytest.mark.parametrize("images", [1, 2, 40])
    @pytest.mark.parametrize("population", [None, 50])
    def test_the_estimate_is_about_the_mean(self, images: int, population: int | None) -> None:
        """Phi of another thing than the images, or bounds that do not hold it between them."""
        design, draws = self.make(4, 1), np.arange(images)
        games, count = random_games(images, 4), self.replicates(design)
        gains = self.gains(design, games, draws, 0, count) / count
        found = design.estimate(gains, draws, np.arange(images) % 2, population)
        np.testing.assert_allclose(found.phi, gains.mean(axis=(0, 1)), rtol=0, atol=1e-12)
        assert found.psi.sum() == pytest.approx(1)
        for name in ("phi", "psi"):
            low, value, high = (getattr(found, f"{name}{end}") for end in ("_low", "", "_high"))
            assert low.shape == value.shape == high.shape == (4,)
            assert images == 1 or ((low <= value) & (value <= high)).all()
        assert images == 1 or found.sis_low <= found.sis <= found.sis_high
        # Nothing is known of the spread of one image.
        assert np.isnan(found.standard_error).all() == (images == 1)

    def test_a_higher_level_gives_a_wider_interval(self) -> None:
        """A decision at another level than 95 % would err as often as one at 95 %."""
        design, draws = self.make(4, 1), np.arange(40)
        # By its bit mask each coalition is worth more for each band, so that the score is not any.
        games, count = random_games(40, 4) + np.arange(16), self.replicates(design)
        gains = self.gains(design, games, draws, 0, count) / count
        plain, strict = (design.estimate(gains, draws, level=level) for level in (0.95, 0.99))
        # Quantiles of the normal distribution; those of Student's differ by more.
        ratio = (strict.phi_high - strict.phi) / (plain.phi_high - plain.phi)
        assert (ratio >= 2.5758 / 1.96).all()
        assert strict.sis_high - strict.sis_low > plain.sis_high - plain.sis_low

    def test_it_says_what_a_reader_needs_as_json(self) -> None:
        """The attribute of the archive cannot be written."""
        import json

        described = self.make(5).describe()
        assert json.loads(json.dumps(described)) == described

    def test_rounds_grow(self) -> None:
        """A sequential run that never ends."""
        design = self.make(4)
        for missing in (None, np.nan, 0.5, 1.0, 100.0):
            done = 0
            for _ in range(4):
                after = design.next_blocks(done, missing)
                assert after > done
                done = after
        assert design.block >= 1
