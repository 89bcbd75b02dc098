"""Images kept from one batch to the next: fewer additions, and the same bits."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from iaside_onnx.spectrum import mix, synthesis

BANDS = 7
RNG = np.random.default_rng(5)
OFFSET = RNG.random((3, 11), dtype=np.float32)
COMPONENTS = RNG.standard_normal((BANDS, 3, 11), dtype=np.float32)


def by_definition(coalition: int) -> NDArray[np.float32]:
    """The sum in the documented order: highest band first, in float32."""
    image = OFFSET.copy()
    for band in range(BANDS - 1, -1, -1):
        if coalition >> band & 1:
            image += COMPONENTS[band]
    return image


EVERY = np.stack([by_definition(coalition) for coalition in range(2**BANDS)])


@given(
    st.lists(st.integers(0, 2**BANDS), min_size=2, max_size=12, unique=True).map(sorted),
    st.sampled_from([1, 5, 8192]),
)
def test_batches_that_follow_each_other(cuts: list[int], piece: int) -> None:
    """A kept image would be of another coalition, or summed in another order."""
    known: dict[int, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthesis, "_PIECE", piece)
        for start, stop in pairwise(cuts):
            out = np.full((stop - start, *OFFSET.shape), np.nan, np.float32)
            mix(OFFSET, COMPONENTS, np.arange(start, stop, dtype=np.uint64), out, np, known)
            np.testing.assert_array_equal(out, EVERY[start:stop])
            assert len(known) < BANDS
            for coalition, image in known.items():
                np.testing.assert_array_equal(image, EVERY[coalition])


def test_what_is_kept_saves_additions() -> None:
    """Batches of eight would each begin from nothing: twice the memory traffic."""
    known: dict[int, Any] = {}
    out = np.empty((8, *OFFSET.shape), np.float32)
    for start in range(1, 113, 8):
        coalitions = np.arange(start, start + 8, dtype=np.uint64)
        steps, _ = synthesis._tree_steps(coalitions.tobytes(), tuple(known))
        # After the first band of the run that begins a step, one addition a row.
        assert all(len(step.bands) <= 1 for step in steps)
        mix(OFFSET, COMPONENTS, coalitions, out, np, known)


def test_a_buffer_with_gaps_is_written_too() -> None:
    """Flattened, it would be a copy, and the buffer would stay as it was."""
    wide = np.full((4, 3, 22), np.nan, np.float32)
    mix(OFFSET, COMPONENTS, np.arange(4, dtype=np.uint64), wide[:, :, ::2])
    np.testing.assert_array_equal(wide[:, :, ::2], EVERY[:4])
