"""Bit masks, against Python's own arithmetic on integers."""

from __future__ import annotations

import numpy as np
import pytest

from iaside_onnx import all_coalitions, coalition_size, membership
from iaside_onnx.errors import OptionError


@pytest.mark.parametrize("bands", [2, 5, 16])
def test_position_and_mask_are_the_same(bands: int) -> None:
    """The Shapley code reads a table by position."""
    coalitions = all_coalitions(bands)
    assert coalitions.dtype == np.uint64
    assert coalitions.tolist() == list(range(2**bands))


@pytest.mark.parametrize("bands", [-1, 0, 1, 17, 64])
def test_too_few_or_too_many_bands_are_refused(bands: int) -> None:
    """Otherwise 17 bands and more would be asked for, and take days without a word."""
    with pytest.raises(OptionError, match="2 to 16"):
        all_coalitions(bands)


def test_membership_and_size_agree_with_pythons_bits() -> None:
    """Up to bit 63, where a signed integer would lose the highest band."""
    masks = [0, 1, 6, 1 << 32, (1 << 63) | 5, (1 << 64) - 1]
    coalitions = np.array(masks, dtype=np.uint64)
    bits = [[bool(mask >> band & 1) for band in range(64)] for mask in masks]
    assert membership(coalitions, 64).tolist() == bits
    assert membership(coalitions, 3).tolist() == [row[:3] for row in bits]
    assert coalition_size(coalitions).tolist() == [mask.bit_count() for mask in masks]
