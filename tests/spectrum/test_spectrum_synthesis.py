"""Mixing components: exact in every order and batch, and equal to the matrix product."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from iaside_onnx import band_components, band_index
from iaside_onnx.spectrum import limit_range, mix

BANDS = 6
RNG = np.random.default_rng(0)
OFFSET = RNG.random((2, 5, 7), dtype=np.float32)
COMPONENTS = RNG.standard_normal((BANDS, 2, 5, 7), dtype=np.float32)


def mixed(coalitions: list[int]) -> NDArray[np.float32]:
    """What `mix` writes for these coalitions, into a buffer full of something else."""
    out = np.full((len(coalitions), *OFFSET.shape), np.nan, dtype=np.float32)
    mix(OFFSET, COMPONENTS, np.array(coalitions, dtype=np.uint64), out)
    return out


EVERY = mixed(list(range(2**BANDS)))


def test_equals_the_matrix_product() -> None:
    """``b + sum of d_i over S`` in float64, for every coalition."""
    members = (np.arange(2**BANDS)[:, None] >> np.arange(BANDS) & 1).astype(np.float64)
    product = OFFSET + np.tensordot(members, COMPONENTS.astype(np.float64), axes=1)
    assert EVERY.dtype == np.float32
    np.testing.assert_allclose(EVERY, product, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(EVERY[0], OFFSET)


@given(st.lists(st.integers(0, 2**BANDS - 1), min_size=1, max_size=80))
def test_a_coalition_is_the_same_bit_for_bit_whatever_is_beside_it(coalitions: list[int]) -> None:
    """In another batch, order or subset, an image would differ in its last bits."""
    np.testing.assert_array_equal(mixed(coalitions), EVERY[coalitions])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 33])
def test_splitting_into_batches_changes_no_bit(size: int) -> None:
    """The batch size would show in the result."""
    parts = [mixed(list(range(i, min(i + size, 64)))) for i in range(0, 64, size)]
    np.testing.assert_array_equal(np.concatenate(parts), EVERY)


def test_the_highest_of_64_bands_is_there() -> None:
    """A mask above 2**63 would pass through a signed integer."""
    out = np.empty((1, 1), dtype=np.float32)
    components = np.arange(64, dtype=np.float32)[:, None]
    mix(np.zeros(1, np.float32), components, np.array([1 << 63 | 1 << 2], dtype=np.uint64), out)
    assert out.item() == 65


def limited(images: NDArray[np.float32], kind: Any, xp: ModuleType) -> NDArray[Any]:
    copy = xp.asarray(images.copy())
    limit_range(copy, kind, xp)
    assert copy.dtype == xp.float32
    return np.asarray(copy.get() if hasattr(copy, "get") else copy)


def test_ranges(xp: ModuleType) -> None:
    """``none`` is untouched, ``clip`` cuts, ``minmax`` stretches each image by itself."""
    images = EVERY[[3, 17, 40]]
    np.testing.assert_array_equal(limited(images, "none", xp), images)
    np.testing.assert_array_equal(limited(images, "clip", xp), images.clip(0, 1))
    stretched = limited(images, "minmax", xp)
    for image, found in zip(images.astype(np.float64), stretched, strict=True):
        wanted = (image - image.min()) / (image.max() - image.min())
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)
        assert (found.min(), found.max()) == (0, 1)


@pytest.mark.parametrize(("value", "wanted"), [(0.0, 0.0), (0.25, 0.25), (-2.0, 0.0), (3.0, 1.0)])
def test_a_constant_image_is_clipped_not_stretched(
    value: float, wanted: float, xp: ModuleType
) -> None:
    """0/0 would be NaN, and an image beside a constant one must not notice."""
    images = np.stack([np.full_like(OFFSET, value), OFFSET])
    found = limited(images, "minmax", xp)
    np.testing.assert_array_equal(found[0], np.float32(wanted))
    np.testing.assert_array_equal(found[1], limited(OFFSET[None], "minmax", xp)[0])


def test_rounding_noise_is_not_stretched_to_an_image(xp: ModuleType) -> None:
    """The higher bands of a plain image hold 1e-8 of rounding, which is not a picture of its own.

    Stretched to [0, 1] it would be noise at full contrast, another on every machine.
    """
    plain = np.full((1, 10, 13), 0.3, dtype=np.float32)
    components = band_components(plain, band_index(10, 13, 3), 3)
    assert components[1:].any()
    found = limited(components, "minmax", xp)
    np.testing.assert_allclose(found[0], 0.3, atol=1e-5)
    np.testing.assert_allclose(found[1:], 0.0, atol=1e-5)
