"""Finite fields: the axioms, and the prime powers there are."""

from __future__ import annotations

import numpy as np
import pytest

from iaside_onnx.game.fields import field_tables, prime_power

# OEIS A246655.
POWERS = (
    2, 3, 4, 5, 7, 8, 9, 11, 13, 16, 17, 19, 23, 25, 27, 29, 31, 32, 37, 41, 43, 47, 49, 53, 59,
    61, 64,
)  # fmt: skip


def test_prime_powers() -> None:
    """A field of 6 elements, or none of 49: permutations that are none, or do not balance."""
    assert tuple(q for q in range(1, 65) if prime_power(q)) == POWERS
    assert prime_power(64) == (2, 6)
    assert prime_power(49) == (7, 2)
    assert field_tables(12) is None


@pytest.mark.parametrize("order", POWERS)
def test_the_axioms_of_a_field(order: int) -> None:
    """One reducible polynomial in the table: products of elements would vanish."""
    tables = field_tables(order)
    assert tables is not None
    sums, products = tables
    every = np.arange(order)
    for table, neutral, elements in ((sums, 0, every), (products, 1, every[1:])):
        np.testing.assert_array_equal(table, table.T)
        np.testing.assert_array_equal(table[neutral], every)
        # A Latin square: every element has an inverse.
        square = table[np.ix_(elements, elements)]
        np.testing.assert_array_equal(np.sort(square, axis=1), np.tile(elements, (len(square), 1)))
    a, b, c = np.meshgrid(every, every, every[:: max(order // 8, 1)], indexing="ij")
    np.testing.assert_array_equal(sums[sums[a, b], c], sums[a, sums[b, c]])
    np.testing.assert_array_equal(products[products[a, b], c], products[a, products[b, c]])
    np.testing.assert_array_equal(products[a, sums[b, c]], sums[products[a, b], products[a, c]])
