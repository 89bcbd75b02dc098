"""Arithmetic in finite fields of up to 64 elements (Lidl, Niederreiter, Finite Fields, 1997)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["field_tables", "prime_power"]

# Coefficients of monic irreducible polynomials, lowest first, without the leading 1.
_IRREDUCIBLE: dict[tuple[int, int], tuple[int, ...]] = {
    (2, 2): (1, 1),
    (2, 3): (1, 1, 0),
    (2, 4): (1, 1, 0, 0),
    (2, 5): (1, 0, 1, 0, 0),
    (2, 6): (1, 1, 0, 0, 0, 0),
    (3, 2): (1, 0),
    (3, 3): (1, 2, 0),
    (5, 2): (2, 0),
    (7, 2): (1, 0),
}


def prime_power(order: int) -> tuple[int, int] | None:
    """The prime p and the degree k of ``order = p**k``, from 2 to 64; None if there are none."""
    prime = next((p for p in range(2, order + 1) if order % p == 0), None)
    if prime is None:
        return None
    degree = 0
    while order % prime == 0:
        order, degree = order // prime, degree + 1
    return (prime, degree) if order == 1 else None


@lru_cache(maxsize=8)
def field_tables(order: int) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Sums and products of all elements, each ``(order, order)``, or None if there is no field.

    An element is a polynomial over the integers modulo p; its number has the coefficients as
    digits in base p, lowest first, so 0 and 1 are themselves.

    Args:
        order: number of elements, 2 to 64.
    """
    found = prime_power(order)
    if found is None:
        return None
    prime, degree = found
    digits = np.arange(order)[:, None] // prime ** np.arange(degree) % prime
    place_values = prime ** np.arange(degree)
    sums = (digits[:, None] + digits[None]) % prime @ place_values
    # Multiplying by x moves the digits up; the digit that overflows is reduced by the polynomial.
    reduced = -np.array(_IRREDUCIBLE[prime, degree] if degree > 1 else (0,))
    products = np.zeros((order, order, degree), dtype=np.int64)
    shifted = digits
    for power in range(degree):
        products += digits[:, None, power, None] * shifted[None]
        moved = np.roll(shifted, 1, axis=1)
        top = moved[:, :1].copy()
        moved[:, 0] = 0
        shifted = (moved + top * reduced) % prime
    return sums.astype(np.int64), (products % prime @ place_values).astype(np.int64)
