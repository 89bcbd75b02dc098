"""What every `Design` promises, as a class of tests that the tests of each design inherit.

What a design must give is computed here with sets and loops, from random games with known
contributions, without any code of the design.
"""

from __future__ import annotations

import json
import pickle
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from iaside_onnx.errors import OptionError
from iaside_onnx.game import Design, design_type, make_design
from tests.support.oracle import shapley_by_orders

__all__ = ["DesignContract"]

IMAGES, SEEDS = 12, 300
DRAWS = np.arange(IMAGES)


def game(bands: int, seed: int = 0) -> NDArray[np.float64]:
    """A random game, ``(2**bands,)``."""
    return np.asarray(np.random.default_rng([seed, bands]).standard_normal(2**bands))


class DesignContract:
    """The tests of a design.

    Attributes:
        name: of the design.
        bands: numbers of bands to test with; the first is tested most.
    """

    name: str
    bands: tuple[int, ...]

    @pytest.fixture
    def design(self) -> Design:
        return make_design(self.name, self.bands[0], 3)

    @property
    def designs(self) -> list[Design]:
        return [make_design(self.name, bands, 3) for bands in self.bands]

    def worths(self, design: Design, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The worths of one game in the slots of each image, ``(IMAGES, slots)``."""
        stop = design.passes[-1].stop
        masks = np.array([design.coalitions(draw, 0, stop) for draw in DRAWS.tolist()])
        return np.asarray(values[masks.astype(np.int64)])

    def means(self, design: Design, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Estimates of the contributions of one game at each draw, ``(IMAGES, bands)``."""
        last = design.passes[-1].last
        parts = design.gains(self.worths(design, values), DRAWS, 0, last)
        return np.asarray(parts.sum(axis=0) / (len(parts) * last))

    def test_it_is_found_by_its_name(self, design: Design) -> None:
        """An archive names a design that cannot be made again."""
        assert type(design) is design_type(self.name)
        assert design.name == self.name
        assert pickle.loads(pickle.dumps(design)) == design  # noqa: S301  # made here

    def test_the_number_of_bands_is_checked(self) -> None:
        """Masks wrap around, or memory runs out."""
        most = design_type(self.name).max_bands
        for bands in (0, 1, most + 1):
            with pytest.raises(OptionError, match=f"from 2 to {most} .*found {bands}"):
                make_design(self.name, bands, 0)
        make_design(self.name, 2, 0)
        make_design(self.name, most, 0)

    def test_passes_are_all_replicates_and_slots_once(self) -> None:
        """A coalition that is evaluated twice, or never."""
        for design in self.designs:
            passes = design.passes
            assert passes[0].first == passes[0].start == 0
            for one, following in pairwise(passes):
                assert (one.last, one.stop) == (following.first, following.start)
            for one in passes:
                assert one.first < one.last
                assert one.start < one.stop
                assert design.slots(one.last) == one.stop

    def test_slots_hold_each_coalition_once_and_both_ends(self) -> None:
        """A coalition is paid for twice, or the worth of nothing is another coalition's."""
        for design in self.designs:
            stop = design.passes[-1].stop
            for draw in (0, 1, 1000):
                masks = design.coalitions(draw, 0, stop)
                assert masks.dtype == np.uint64
                assert len({*masks.tolist()}) == stop
                assert masks[0] == 0
                assert masks[design.full_slot] == 2**design.bands - 1
                for one in design.passes:
                    part = design.coalitions(draw, one.start, one.stop)
                    np.testing.assert_array_equal(part, masks[one.start : one.stop])

    def test_the_coalitions_of_an_image_depend_on_its_draw_and_the_seed_alone(self) -> None:
        """Shards, workers and resumption would change the coalitions of an image."""
        for design in self.designs:
            stop = design.passes[-1].stop
            alone = make_design(self.name, design.bands, 3).coalitions(70, 0, stop)
            others = [design.coalitions(draw, 0, stop).tolist() for draw in (3, 69, 71, 0)]
            np.testing.assert_array_equal(design.coalitions(70, 0, stop), alone)
            if design.shared:
                assert all(other == alone.tolist() for other in others)
            elif design.bands > 2:
                assert alone.tolist() not in others

    def test_gains_sum_to_the_difference_of_the_ends(self) -> None:
        """Efficiency, for every image and replicate."""
        for design in self.designs:
            if design.bands > 10:
                continue
            values = game(design.bands)
            total = values[-1] - values[0]
            for one in design.passes:
                parts = design.gains(self.worths(design, values), DRAWS, one.first, one.last)
                assert parts.shape[1:] == (IMAGES, design.bands)
                wanted = np.full(parts.shape[:2], (one.last - one.first) * total)
                np.testing.assert_allclose(parts.sum(axis=-1), wanted, rtol=0, atol=1e-9)

    def test_gains_of_replicates_add_up(self, design: Design) -> None:
        """A run that stops between two passes has other contributions than the archive says."""
        worth = self.worths(design, game(design.bands))
        passes = design.passes
        whole = design.gains(worth, DRAWS, 0, passes[-1].last)
        parts = sum(design.gains(worth, DRAWS, one.first, one.last) for one in passes)
        np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-9)
        rows = np.array([5, 2])
        few = design.gains(worth[rows], DRAWS[rows], 0, passes[-1].last)
        np.testing.assert_allclose(few, whole[:, rows], rtol=0, atol=1e-12)

    def test_a_band_that_changes_nothing_gains_nothing(self, design: Design) -> None:
        """The gain of a band is given to its neighbour."""
        values = game(design.bands)[np.arange(2**design.bands) & ~1]
        means = self.means(design, values)
        np.testing.assert_allclose(means[:, 0], 0, rtol=0, atol=1e-12)
        assert (np.abs(means[:, 1:]) > 1e-6).all()

    def test_a_worth_that_is_missing_is_no_number(self, design: Design) -> None:
        """An image that was not evaluated counts as one of worth 0."""
        worth = self.worths(design, game(design.bands))
        worth[4, 0] = np.nan
        gains = design.gains(worth, DRAWS, 0, design.passes[0].last)
        assert np.isnan(gains[:, 4]).any()
        assert np.isfinite(np.delete(gains, 4, axis=1)).all()

    def test_the_mean_over_seeds_is_the_shapley_value(self) -> None:
        """Bias."""
        bands = self.bands[0]
        values = game(bands, 5)
        found = np.array(
            [
                self.means(make_design(self.name, bands, seed), values).mean(axis=0)
                for seed in range(SEEDS)
            ]
        )
        error = found.mean(axis=0) - shapley_by_orders(values, bands)
        spread = found.std(axis=0, ddof=1) / np.sqrt(SEEDS)
        assert (np.abs(error) <= 3.5 * spread + 1e-9).all()

    def test_the_estimate_is_the_mean_over_images(self, design: Design) -> None:
        """Intervals around another number than the one that is shown."""
        rng = np.random.default_rng(0)
        parts = len(design.gains(self.worths(design, game(design.bands)), DRAWS, 0, 1))
        gains = rng.standard_normal((parts, 60, design.bands))
        found = design.estimate(gains, np.arange(60))
        np.testing.assert_allclose(found.phi, gains.mean(axis=(0, 1)), rtol=0, atol=1e-12)
        assert (found.phi_low < found.phi).all()
        assert (found.phi < found.phi_high).all()
        finite = design.estimate(gains, np.arange(60), None, 61)
        assert (finite.standard_error <= found.standard_error).all()

    def test_the_draw_is_every_image_once(self, design: Design) -> None:
        """An image that is evaluated twice, or never."""
        for strata in (None, np.arange(23) % 4):
            assert sorted(design.order(strata, 23).tolist()) == list(range(23))

    def test_what_passes_cost_is_what_the_model_sees(self) -> None:
        """A budget that is overspent, or not spent."""
        for design in self.designs:
            slots = sum(design.evaluations(n, 2) for n in range(len(design.passes)))
            assert slots == design.passes[-1].stop

    def test_what_a_reader_needs_is_json(self, design: Design) -> None:
        """A run that fails at its end, when the archive is written."""
        described = design.describe()
        assert json.loads(json.dumps(described)) == described

    def test_rounds_grow(self, design: Design) -> None:
        """A sequential run that never ends."""
        done = 0
        for missing in (None, float("nan"), 0.5, 1.0, 100.0):
            following = design.next_blocks(done, missing)
            assert following > done
            done = following
