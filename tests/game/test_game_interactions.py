"""The Shapley interaction index: its definition, axioms, games by hand, and shapiq."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from iaside_onnx import Archive, shapley_interactions
from iaside_onnx.errors import OptionError
from tests.support.games import WIDE, close, has, interactions_by_definition, tables

Table = NDArray[np.float64]


@given(tables(most=5))
def test_equals_its_definition(drawn: list[Any]) -> None:
    """Weights, signs, or the bits of the pair would be wrong."""
    bands, worth = drawn
    close(shapley_interactions(worth), interactions_by_definition(worth, bands))


@pytest.mark.parametrize(
    ("worth", "pairs"),
    [
        # Worth only together, worth as much alone, and each as if the other were not there.
        ([0, 0, 0, 1], {(0, 1): 1}),
        ([0, 1, 1, 1], {(0, 1): -1}),
        ([0, 2, 3, 5], {(0, 1): 0}),
        # The majority of three: with neither of the others 1, with the third there -1.
        ([0, 0, 0, 1, 0, 1, 1, 1], {(0, 1): 0, (0, 2): 0, (1, 2): 0}),
        # Bands 0 and 2 need each other, and band 1 does nothing.
        ([0, 0, 0, 0, 0, 1, 0, 1], {(0, 1): 0, (0, 2): 1, (1, 2): 0}),
        # All three are needed: each pair has 1 / (3 - 1).
        ([0, 0, 0, 0, 0, 0, 0, 1], {(0, 1): 0.5, (0, 2): 0.5, (1, 2): 0.5}),
    ],
    ids=["both", "either", "sum", "majority", "two of three", "all three"],
)
def test_small_games_by_hand(worth: list[float], pairs: dict[tuple[int, int], float]) -> None:
    """Overlap would be printed as need, or the wrong pair would be named."""
    found = shapley_interactions(np.array(worth, dtype=np.float64))
    for (i, j), value in pairs.items():
        assert found[i, j] == found[j, i] == value
    assert (np.diag(found) == 0).all()


@given(st.integers(2, 10), st.data())
def test_unanimity(bands: int, data: st.DataObject) -> None:
    """Worth 1 where all of T are there: 1 / (|T| - 1) for the pairs in T, and 0 for all others."""
    members = data.draw(st.sets(st.integers(0, bands - 1), min_size=2))
    worth = np.all([has(bands, band) for band in members], axis=0).astype(np.float64)
    inside = np.isin(np.arange(bands), list(members))
    wanted = np.outer(inside, inside) * (1 / (len(members) - 1)) * (1 - np.eye(bands))
    close(shapley_interactions(worth), wanted)


@given(tables(most=8))
def test_rows_sum_to_what_a_band_gains_by_the_company_of_all(drawn: list[Any]) -> None:
    """Of band i, last minus first: (v(all) - v(all but i)) - (v(i) - v(none)) is divided."""
    bands, worth = drawn
    singles = 1 << np.arange(bands)
    last, first = worth[-1] - worth[~singles], worth[singles] - worth[0]
    close(shapley_interactions(worth).sum(axis=-1), last - first)


@given(tables(), st.data(), WIDE)
def test_dummy(drawn: list[Any], data: st.DataObject, alone: float) -> None:
    """A band that adds the same to every coalition would seem to need others."""
    bands, worth = drawn
    band = data.draw(st.integers(0, bands - 1))
    present = has(bands, band)
    worth[present] = worth[~present] + alone
    close(shapley_interactions(worth)[band], np.zeros(bands))


@given(tables(), st.data())
def test_symmetry(drawn: list[Any], data: st.DataObject) -> None:
    """Two bands that are worth the same in every coalition would interact differently."""
    bands, worth = drawn
    i, j = data.draw(st.permutations(range(bands)).map(lambda order: order[:2]))
    coalitions = np.arange(2**bands)
    swapped = coalitions & ~(1 << i | 1 << j)
    swapped |= (coalitions >> i & 1) << j | (coalitions >> j & 1) << i
    found = shapley_interactions((worth + worth[swapped]) / 2)
    others = [band for band in range(bands) if band not in (i, j)]
    close(found[i, others], found[j, others])
    np.testing.assert_array_equal(found, found.T)


@given(tables(count=2), st.floats(-3, 3))
def test_linearity(drawn: list[Any], factor: float) -> None:
    """The mean over images of interactions would not be those of the mean worths."""
    _, first, second = drawn
    combined = shapley_interactions(first + factor * second)
    close(combined, shapley_interactions(first) + factor * shapley_interactions(second))


@pytest.mark.parametrize("bands", [2, 8, 16])
def test_additive_games_have_none(bands: int) -> None:
    """Bands that work alone would seem to overlap, however many coalitions there are."""
    share = np.linspace(0.1, 1.7, bands)
    worth = sum(has(bands, band) * share[band] for band in range(bands))
    close(shapley_interactions(np.asarray(worth)), np.zeros((bands, bands)))
    assert (shapley_interactions(np.full(2**bands, -2.3)) == 0).all()


def test_float32_is_summed_in_float64() -> None:
    """Archives hold float32, and differences of differences lose digits."""
    worth = np.random.default_rng(0).normal(-5, 3, 2**10).astype(np.float32)
    found = shapley_interactions(worth)
    assert found.dtype == np.float64
    close(found, interactions_by_definition(worth.astype(np.float64), 10))


def test_leading_axes_are_kept() -> None:
    """A stack of tables must give what each gives alone, whatever the memory order."""
    worth = np.random.default_rng(0).normal(size=(3, 2, 2**4))
    found = shapley_interactions(worth)
    assert found.shape == (3, 2, 4, 4)
    for place in np.ndindex(3, 2):
        close(found[place], interactions_by_definition(worth[place], 4))
    close(shapley_interactions(np.asfortranarray(worth)), found)
    assert shapley_interactions(np.empty((0, 8))).shape == (0, 3, 3)


@given(st.integers(0, 15))
def test_nan_spoils_its_own_image_and_no_other(place: int) -> None:
    """A worth that was not evaluated must not pass as a number, nor reach another image."""
    worth = np.random.default_rng(0).normal(size=(3, 16))
    clean = shapley_interactions(worth)
    worth[1, place] = np.nan
    found = shapley_interactions(worth)
    assert np.isnan(found[1][~np.eye(4, dtype=bool)]).all()
    np.testing.assert_array_equal(found[[0, 2]], clean[[0, 2]])


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2,), (3,), (4, 6), (2**17,)])
def test_a_table_of_a_wrong_size_is_refused(shape: tuple[int, ...]) -> None:
    """A sampled table taken for a full one would give numbers without meaning."""
    with pytest.raises(OptionError):
        shapley_interactions(np.zeros(shape))


def by_shapiq(worth: Table, bands: int) -> Table:
    """The interaction index of order 2 by shapiq's ExactComputer."""
    shapiq = pytest.importorskip("shapiq")
    masks = 1 << np.arange(bands)
    computer = shapiq.ExactComputer(lambda sets: worth[(sets @ masks).astype(int)], bands)
    found = computer("SII", order=2)
    matrix = np.zeros((bands, bands))
    for i, j in combinations(range(bands), 2):
        matrix[i, j] = matrix[j, i] = found[(i, j)]
    return matrix


@pytest.mark.parametrize("bands", range(3, 9))
def test_shapiq_agrees_on_random_tables(bands: int) -> None:
    """Another program understands the index differently."""
    worth = np.random.default_rng(bands).normal(-4, 3, 2**bands)
    close(shapley_interactions(worth), by_shapiq(worth, bands))


def test_shapiq_agrees_on_a_real_table(bundled_archive: Archive) -> None:
    """What lies in an archive, read back and divided by another program."""
    for worth in bundled_archive["worth"].astype(np.float64):
        wanted = by_shapiq(worth, bundled_archive.bands)
        np.testing.assert_allclose(shapley_interactions(worth), wanted, rtol=0, atol=1e-9)
