"""The Shapley value: its axioms, all orders of arrival, and shapiq's exact computer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from iaside_onnx import Archive, shapley_values
from iaside_onnx.errors import OptionError
from tests.support.games import WIDE, close, has, tables
from tests.support.oracle import shapley_by_orders

Table = NDArray[np.float64]


@given(tables(most=5))
def test_equals_the_mean_over_all_orders(drawn: list[Any]) -> None:
    """The weights |S|!(M-|S|-1)!/M! would be wrong."""
    bands, worth = drawn
    close(shapley_values(worth), shapley_by_orders(worth, bands))


@given(tables(most=8))
def test_efficiency(drawn: list[Any]) -> None:
    """Contributions would not add up to what the whole image gains over the baseline."""
    _, worth = drawn
    close(shapley_values(worth).sum(), worth[-1] - worth[0])


@given(tables(), st.data())
def test_symmetry(drawn: list[Any], data: st.DataObject) -> None:
    """Two bands that are worth the same in every coalition would not get the same."""
    bands, worth = drawn
    i, j = data.draw(st.permutations(range(bands)).map(lambda order: order[:2]))
    coalitions = np.arange(2**bands)
    swapped = coalitions & ~(1 << i | 1 << j)
    swapped |= (coalitions >> i & 1) << j | (coalitions >> j & 1) << i
    phi = shapley_values((worth + worth[swapped]) / 2)
    close(phi[i], phi[j])


@given(tables(), st.data(), WIDE)
def test_dummy(drawn: list[Any], data: st.DataObject, alone: float) -> None:
    """A band that adds the same to every coalition would not get just that."""
    bands, worth = drawn
    band = data.draw(st.integers(0, bands - 1))
    present = has(bands, band)
    worth[present] = worth[~present] + alone
    close(shapley_values(worth)[band], alone)


@given(tables(count=2), st.floats(-3, 3))
def test_linearity(drawn: list[Any], factor: float) -> None:
    """The mean over images of contributions would not be those of the mean worths."""
    _, first, second = drawn
    combined = shapley_values(first + factor * second)
    close(combined, shapley_values(first) + factor * shapley_values(second))


@given(tables(), st.data())
def test_anonymity(drawn: list[Any], data: st.DataObject) -> None:
    """A band's contribution would depend on its number."""
    bands, worth = drawn
    order = data.draw(st.permutations(range(bands)))
    renamed = np.zeros(2**bands, dtype=np.int64)
    for band, new in enumerate(order):
        renamed += (has(bands, band).astype(np.int64)) << new
    moved = np.empty_like(worth)
    moved[renamed] = worth
    close(shapley_values(moved)[list(order)], shapley_values(worth))


def test_ties_and_constants_give_exact_zeros() -> None:
    """Rounding would invent differences between bands that do nothing."""
    assert shapley_values(np.full(2**8, -2.3)).tolist() == [0.0] * 8


def test_sixteen_bands_are_summed_without_loss() -> None:
    """An additive game gives each band its share back, however many coalitions there are."""
    share = np.linspace(0.1, 1.7, 16)
    worth = sum(has(16, band) * share[band] for band in range(16))
    close(shapley_values(np.asarray(worth)), share)


def test_float32_is_summed_in_float64() -> None:
    """Float32 sums of 2**12 terms would be wrong in the fifth digit; archives hold float32."""
    worth = np.random.default_rng(0).normal(-5, 3, 2**12).astype(np.float32)
    phi = shapley_values(worth)
    assert phi.dtype == np.float64
    np.testing.assert_array_equal(phi, shapley_values(worth.astype(np.float64)))
    close(phi.sum(), np.float64(worth[-1]) - np.float64(worth[0]))


def test_leading_axes_are_kept() -> None:
    """A stack of tables must give what each gives alone, whatever the memory order."""
    worth = np.random.default_rng(0).normal(size=(3, 2, 2**4))
    phi = shapley_values(worth)
    assert phi.shape == (3, 2, 4)
    for place in np.ndindex(3, 2):
        np.testing.assert_array_equal(phi[place], shapley_values(worth[place]))
    close(shapley_values(np.asfortranarray(worth)), phi)
    assert shapley_values(np.empty((0, 8))).shape == (0, 3)


@given(st.integers(0, 15))
def test_nan_spoils_its_own_image_and_no_other(place: int) -> None:
    """A worth that was not evaluated must not pass as a number, nor reach another image."""
    worth = np.random.default_rng(0).normal(size=(3, 16))
    clean = shapley_values(worth)
    worth[1, place] = np.nan
    phi = shapley_values(worth)
    assert np.isnan(phi[1]).all()
    np.testing.assert_array_equal(phi[[0, 2]], clean[[0, 2]])


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2,), (3,), (4, 6), (2**17,)])
def test_a_table_of_a_wrong_size_is_refused(shape: tuple[int, ...]) -> None:
    """A sampled table taken for a full one would give numbers without meaning."""
    with pytest.raises(OptionError):
        shapley_values(np.zeros(shape))


def by_shapiq(worth: Table, bands: int) -> Table:
    """First-order Shapley values by shapiq's ExactComputer."""
    shapiq = pytest.importorskip("shapiq")
    masks = 1 << np.arange(bands)
    computer = shapiq.ExactComputer(lambda sets: worth[(sets @ masks).astype(int)], bands)
    found = computer("SV", order=1)
    return np.array([found[(band,)] for band in range(bands)])


@pytest.mark.parametrize("bands", range(3, 9))
def test_shapiq_agrees_on_random_tables(bands: int) -> None:
    worth = np.random.default_rng(bands).normal(-4, 3, 2**bands)
    np.testing.assert_allclose(shapley_values(worth), by_shapiq(worth, bands), rtol=0, atol=1e-9)


def test_shapiq_agrees_on_a_real_table(bundled_archive: Archive) -> None:
    """What lies in an archive, read back and divided by another program."""
    for worth, phi in zip(bundled_archive["worth"], bundled_archive["phi_image"], strict=True):
        again = by_shapiq(worth.astype(np.float64), bundled_archive.bands)
        np.testing.assert_allclose(phi, again, rtol=0, atol=1e-9)
