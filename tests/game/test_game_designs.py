"""Balanced antithetic pairs: what balances, what is evaluated, and that nothing is biased."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from numpy.typing import NDArray

from iaside_onnx import shapley_values
from iaside_onnx.errors import OptionError
from iaside_onnx.game import PairedDesign
from iaside_onnx.game.fields import prime_power
from iaside_onnx.game.paired import EMPTY_SLOT, FULL_SLOT

BANDS = (2, 3, 4, 6, 7, 8, 9, 10, 12, 16, 27, 64)


def block(bands: int, number: int, seed: int = 0) -> NDArray[np.int64]:
    """The permutations of one block, ``(images, places)``."""
    draws = np.arange(number * bands, (number + 1) * bands)
    return PairedDesign(bands, seed).permutations(draws)


def game(bands: int, seed: int = 0) -> NDArray[np.float64]:
    """A random game, ``(2**bands,)``."""
    return np.asarray(np.random.default_rng(seed).standard_normal(2**bands))


def pair_estimates(
    values: NDArray[np.float64], design: PairedDesign, draws: NDArray[np.int64], pairs: int = 1
) -> NDArray[np.float64]:
    """The contributions of one game as estimated at each draw, ``(n, bands)``."""
    end = int(design.layout.ends[pairs])
    masks = np.array([design.coalitions(draw, 0, end) for draw in draws.tolist()])
    forward, backward = design.gains(values[masks.astype(np.int64)], draws, 0, pairs)
    return np.asarray((forward + backward) / (2 * pairs))


@pytest.mark.parametrize("bands", BANDS)
def test_each_band_is_once_at_each_place_of_a_block(bands: int) -> None:
    """Images of a block would err in the same direction."""
    for number in (0, 1, bands + 3):
        square = block(bands, number)
        for lines in (square, square.T):
            np.testing.assert_array_equal(np.sort(lines), np.tile(np.arange(bands), (bands, 1)))


@pytest.mark.parametrize("bands", [b for b in BANDS if prime_power(b) and b <= 16])
def test_each_pair_of_bands_is_once_at_each_pair_of_places_of_a_group(bands: int) -> None:
    """Interactions of two bands would not balance: twice the variance, and no test of the mean."""
    for group in (0, 5):
        first = group * (bands - 1)
        rows = np.concatenate([block(bands, first + i) for i in range(bands - 1)])
        for one in range(bands):
            for other in range(one):
                assert len({*zip(rows[:, one], rows[:, other], strict=True)}) == len(rows)


@pytest.mark.parametrize(
    ("bands", "place"), [(3, 0), (3, 7), (4, 13), pytest.param(6, 2, marks=pytest.mark.slow)]
)
def test_each_permutation_is_uniform(bands: int, place: int) -> None:
    """An image whose orders are not all as likely gives a biased estimate."""
    seeds = 60 * len(list(permutations(range(bands))))
    found = Counter(
        tuple(PairedDesign(bands, seed).permutation(place).tolist()) for seed in range(seeds)
    )
    counts = np.array([found[order] for order in permutations(range(bands))])
    chi_square = ((counts - 60) ** 2 / 60).sum()
    freedom = counts.size - 1
    assert chi_square < freedom + 4 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("bands", [2, 3, 5, 6, 8, 12])
def test_slots_hold_the_prefixes_of_all_shifts_and_their_reverses_once(bands: int) -> None:
    """A coalition that is paid for twice, or a prefix that is another one's."""
    design = PairedDesign(bands, 3)
    layout = design.layout
    for draw in (0, 1, 5 * bands + 2):
        order = design.permutation(draw).tolist()
        masks = design.coalitions(draw, 0, int(layout.ends[-1])).tolist()
        assert len(set(masks)) == len(masks) == bands * (bands - 1) + 2
        assert masks[EMPTY_SLOT] == 0
        assert masks[FULL_SLOT] == 2**bands - 1
        assert sorted(layout.shifts.tolist()) == list(range(bands))
        for pair, shift in enumerate(layout.shifts.tolist()):
            turned = order[shift:] + order[:shift]
            for slots, line in (
                (layout.forward[pair], turned),
                (layout.backward[pair], turned[::-1]),
            ):
                assert slots.max() < layout.ends[pair + 1]
                for length, slot in enumerate(slots.tolist()):
                    assert masks[slot] == sum(1 << band for band in line[:length])


def test_what_pairs_cost() -> None:
    """14 coalitions for the first of 8 bands' pairs; each shares two more with those before it."""
    ends = PairedDesign(8, 0).layout.ends
    assert np.diff(ends).tolist() == [14, 12, 10, 8, 6, 4, 2, 0]
    assert PairedDesign(8, 0).layout.shifts.tolist() == [0, 4, 2, 6, 1, 5, 3, 7]


def test_the_highest_of_64_bands() -> None:
    """Bit 63 is lost in a signed or a rounded number."""
    masks = PairedDesign(64, 0).coalitions(70, 0, 128)
    assert int(masks[FULL_SLOT]) == 2**64 - 1
    assert sorted(bin(mask).count("1") for mask in masks.tolist()) == sorted(
        [0, 64, *range(1, 64), *range(1, 64)]
    )


def test_gains_are_those_of_a_walk_along_each_order() -> None:
    """A gain that is given to the neighbour of its band."""
    design, values, draws = PairedDesign(6, 1), game(6), np.array([4, 17])
    for pairs in (1, 3, 6):
        found = pair_estimates(values, design, draws, pairs)
        wanted = np.zeros((2, 6))
        for row, draw in enumerate(draws.tolist()):
            order = design.permutation(draw).tolist()
            for shift in design.layout.shifts[:pairs].tolist():
                turned = order[shift:] + order[:shift]
                for line in (turned, turned[::-1]):
                    before = 0
                    for band in line:
                        after = before | 1 << band
                        wanted[row, band] += (values[after] - values[before]) / (2 * pairs)
                        before = after
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)
        # Efficiency holds for each image, not only on average.
        np.testing.assert_allclose(found.sum(axis=1), values[-1] - values[0], atol=1e-12)


@pytest.mark.parametrize("pairs", [1, 2])
@pytest.mark.parametrize(("bands", "images"), [(8, 16), (7, 5), (6, 12), (10, 13), (9, 1), (2, 3)])
def test_the_mean_over_seeds_is_the_shapley_value(bands: int, images: int, pairs: int) -> None:
    """Bias, for M that are prime powers and not, whole and partial blocks, and few images."""
    values = game(bands, 5)
    means = np.array(
        [
            pair_estimates(values, PairedDesign(bands, seed), np.arange(images), pairs).mean(axis=0)
            for seed in range(600)
        ]
    )
    error = means.mean(axis=0) - shapley_values(values)
    spread = means.std(axis=0, ddof=1) / np.sqrt(len(means))
    # Of up to 10 bands the largest of |t| is below 3.5 in 99.5 % of all cases.
    assert (np.abs(error) <= 3.5 * spread + 1e-12).all()


@pytest.mark.parametrize("bands", [5, 6, 8])
def test_a_block_is_exact_where_gains_depend_on_the_place_alone(bands: int) -> None:
    """A balance that is none costs a third of the evaluations and shows nowhere else."""
    sizes = np.array([bin(mask).count("1") for mask in range(2**bands)])
    values = sizes.astype(np.float64) ** 3
    for number in (0, 4):
        draws = np.arange(number * bands, (number + 1) * bands)
        found = pair_estimates(values, PairedDesign(bands, 1), draws)
        assert np.ptp(found) > 1
        np.testing.assert_allclose(found.mean(axis=0), bands**2, rtol=0, atol=1e-9)


def test_a_design_depends_on_seed_and_place_alone() -> None:
    """Shards, workers and resumption would change the coalitions of an image."""
    alone = PairedDesign(8, 7).permutation(1000)
    design = PairedDesign(8, 7)
    for draw in (3, 999, 0, 1000):
        design.permutation(draw)
    np.testing.assert_array_equal(design.permutation(1000), alone)
    others = [PairedDesign(8, seed).permutation(1000).tolist() for seed in range(8, 12)]
    assert alone.tolist() not in others


@pytest.mark.parametrize("bands", [1, 65])
def test_the_number_of_bands_is_checked(bands: int) -> None:
    """Masks of more than 64 bits wrap around in silence."""
    with pytest.raises(OptionError, match=f"from 2 to 64 .*found {bands}"):
        PairedDesign(bands, 0)
