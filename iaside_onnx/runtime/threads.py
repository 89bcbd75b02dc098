"""A thread pool for the array work between two runs of the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

from iaside_onnx.spectrum import serial_for

__all__ = ["ThreadPool"]

_MAX_THREADS = 8
"""Filtering and mixing are limited by memory bandwidth: more threads gain nothing."""


class ThreadPool:
    """A `ParallelFor` on the calling thread and a fixed number of worker threads.

    The indices are dealt out to the threads in advance, not one at a time.
    """

    def __init__(self, threads: int) -> None:
        """Create the pool; worker threads start at the first call that needs them.

        Args:
            threads: number of threads, with the calling thread; at least 1.
        """
        self._threads = min(threads, _MAX_THREADS)
        self._pool = (
            ThreadPoolExecutor(self._threads - 1, thread_name_prefix="iaside-pool")
            if self._threads > 1
            else None
        )

    def __call__(self, body: Callable[[int], None], indices: Sequence[int]) -> None:
        """Call ``body`` once with each index, and return when all calls have returned.

        Raises:
            Exception: what a call of ``body`` raised; the other threads finish first.
        """
        if self._pool is None or len(indices) < 2:
            serial_for(body, indices)
            return
        own, *others = (indices[i :: self._threads] for i in range(self._threads))
        futures = [self._pool.submit(serial_for, body, other) for other in others if other]
        try:
            serial_for(body, own)
        finally:
            wait(futures)
        for future in futures:
            future.result()
