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
from iaside_onnx.spectrum import MixOrder, limit_range, mix, mix_order

BANDS = 6
RNG = np.random.default_rng(0)
OFFSET = RNG.random((2, 5, 7), dtype=np.float32)
COMPONENTS = RNG.standard_normal((BANDS, 2, 5, 7), dtype=np.float32)


def mixed(coalitions: list[int], order: MixOrder | None = None) -> NDArray[np.float32]:
    """What `mix` writes for these coalitions, into a buffer full of something else."""
    out = np.full((len(coalitions), *OFFSET.shape), np.nan, dtype=np.float32)
    mix(OFFSET, COMPONENTS, np.array(coalitions, dtype=np.uint64), out, order=order)
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
def test_in_a_tree_an_image_is_the_same_bit_for_bit_in_any_list(coalitions: list[int]) -> None:
    """In another batch, order or subset, an image would differ in its last bits."""
    np.testing.assert_array_equal(mixed(coalitions, "tree"), EVERY[coalitions])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 33])
def test_splitting_into_batches_changes_no_bit(size: int) -> None:
    """The batch size would show in the result."""
    parts = [mixed(list(range(i, min(i + size, 64)))) for i in range(0, 64, size)]
    np.testing.assert_array_equal(np.concatenate(parts), EVERY)


@given(st.lists(st.integers(0, 2**BANDS - 1), min_size=1, max_size=80))
def test_in_a_chain_an_image_is_right_but_for_rounding(coalitions: list[int]) -> None:
    """A band would be added twice, or not at all, after a list that goes back and forth."""
    np.testing.assert_allclose(mixed(coalitions, "chain"), EVERY[coalitions], rtol=0, atol=1e-5)


@pytest.mark.parametrize("first", range(2**BANDS))
def test_consecutive_coalitions_are_the_same_bits_as_a_tree_and_as_a_chain(first: int) -> None:
    """Which of both is taken would show in the result of a short list."""
    for stop in range(first + 1, 2**BANDS + 1):
        run = list(range(first, stop))
        chain = mixed(run, "chain")
        np.testing.assert_array_equal(mixed(run, "tree"), chain)
        np.testing.assert_array_equal(mixed(run), chain)


@pytest.mark.parametrize(
    ("coalitions", "order"),
    [([], "tree"), ([5], "tree"), ([0, 1, 2], "tree"), ([6, 7, 8, 9], "tree"),
     ([0, 2], "chain"), ([3, 2], "chain"), ([1, 1], "chain"),
     ([1, 3, 7, 6, 4], "chain")],
)  # fmt: skip
def test_consecutive_lists_are_trees_and_others_chains(coalitions: list[int], order: str) -> None:
    """A permutation is mixed from nothing for each band, or a full table one by one."""
    assert mix_order(np.array(coalitions, dtype=np.uint64)) == order


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_chain_does_not_depend_on_its_batches(size: int) -> None:
    """The batch size would show in the results of a sample."""
    rng = np.random.default_rng(2)
    coalitions = np.concatenate(
        [np.cumsum(1 << rng.permutation(BANDS).astype(np.uint64)) for _ in range(3)]
    )
    order = mix_order(coalitions)
    assert order == "chain"
    known: dict[int, Any] = {}
    out = np.full((coalitions.size, *OFFSET.shape), np.nan, dtype=np.float32)
    for start in range(0, coalitions.size, size):
        here = slice(start, start + size)
        mix(OFFSET, COMPONENTS, coalitions[here], out[here], np, known, order=order)
    np.testing.assert_array_equal(out, mixed(coalitions.tolist()))


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
