"""The thread pool: each index once, and no exception is lost."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest

from iaside_onnx import band_components, band_index
from iaside_onnx.runtime.threads import ThreadPool
from iaside_onnx.spectrum import mix
from tests.support.command import PATIENCE


@pytest.mark.parametrize("threads", [1, 2, 3, 40])
@pytest.mark.parametrize("indices", [[], [5], [1, 2, 3], range(0, 100, 7)])
def test_each_index_comes_once(threads: int, indices: Sequence[int]) -> None:
    """A band or piece of an image that is left out holds uninitialised memory."""
    seen: list[int] = []
    ThreadPool(threads)(seen.append, indices)
    assert sorted(seen) == list(indices)


def test_the_work_is_shared() -> None:
    """One thread that did all of the work would wait at the barrier until it breaks."""
    meeting = threading.Barrier(2, timeout=PATIENCE)

    def meet(_: int) -> None:
        meeting.wait()

    ThreadPool(2)(meet, [0, 1])
    assert not meeting.broken


@pytest.mark.parametrize("bad", [0, 1])
def test_a_failure_anywhere_is_raised_when_all_have_ended(bad: int) -> None:
    """Memory that runs out on a worker thread would leave half an image without an error."""
    done: list[int] = []

    def body(index: int) -> None:
        if index == bad:
            raise MemoryError
        done.append(index)

    with pytest.raises(MemoryError):
        ThreadPool(2)(body, [0, 1])
    assert done == [1 - bad]


def test_filtering_and_mixing_give_the_same_bits_on_any_number_of_threads() -> None:
    """The number of threads would show in the result."""
    rng = np.random.default_rng(0)
    image = rng.random((3, 160, 200), dtype=np.float32)
    coalitions = np.arange(32, dtype=np.uint64)
    index = band_index(160, 200, 5)
    images = []
    for threads in (1, 3):
        components = band_components(image, index, 5, np, ThreadPool(threads))
        out = np.full((32, *image.shape), np.nan, dtype=np.float32)
        mix(image, components, coalitions, out, parallel_for=ThreadPool(threads))
        images.append(out)
    np.testing.assert_array_equal(images[0], images[1])
    np.testing.assert_allclose(images[0][31], 2 * image, rtol=0, atol=1e-5)
