"""Threads that share what is done between two runs of the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

from iaside_onnx.spectrum import in_turn

__all__ = ["Team"]

_MOST_THREADS = 8
"""Filtering and mixing wait for memory: more gain nothing."""


class Team:
    """Calls a function with each of some numbers, on its threads and the caller's."""

    def __init__(self, threads: int) -> None:
        """Threads start when they are first needed, and sleep when there is nothing to do."""
        self._threads = min(threads, _MOST_THREADS)
        self._pool = (
            ThreadPoolExecutor(self._threads - 1, thread_name_prefix="iaside-team")
            if self._threads > 1
            else None
        )

    def __call__(self, work: Callable[[int], None], numbers: Sequence[int]) -> None:
        """Return when all are done; an exception in one of them is raised."""
        if self._pool is None or len(numbers) < 2:
            in_turn(work, numbers)
            return
        mine, *others = (numbers[i :: self._threads] for i in range(self._threads))
        theirs = [self._pool.submit(in_turn, work, other) for other in others if other]
        try:
            in_turn(work, mine)
        finally:
            wait(theirs)
        for future in theirs:
            future.result()
