"""The interface of a parallel for loop, and its serial implementation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

__all__ = ["ParallelFor", "serial_for"]

ParallelFor: TypeAlias = Callable[[Callable[[int], None], Sequence[int]], None]
"""``parallel_for(body, indices)`` calls ``body`` once with each index, in any order and on any
thread, and returns when all calls have returned. An exception in a call is raised."""


def serial_for(body: Callable[[int], None], indices: Sequence[int]) -> None:
    """Call ``body`` with each index, in order, on the calling thread."""
    for index in indices:
        body(index)
