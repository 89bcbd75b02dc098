"""Work that falls into independent pieces, and who does them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

__all__ = ["Each", "in_turn"]

Each: TypeAlias = Callable[[Callable[[int], None], Sequence[int]], None]
"""Calls a function with each of some numbers, in any order, and returns when all are done."""


def in_turn(work: Callable[[int], None], numbers: Sequence[int]) -> None:
    """Call a function with each number, one after the other."""
    for number in numbers:
        work(number)
