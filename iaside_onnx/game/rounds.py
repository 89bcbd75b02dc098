"""Number of blocks to evaluate before a sequential estimate is made again."""

from __future__ import annotations

import math

__all__ = ["FIRST_BLOCKS", "next_end"]

FIRST_BLOCKS = 16
"""Blocks of the first round: with fewer, the estimate of their spread is too noisy."""

_GROWTH = 3
"""Largest growth in one round: an early estimate of the spread may be far off."""


def next_end(done: int, missing: float | None) -> int:
    """Number of blocks at the end of the next round.

    A standard error falls with the root of the number of blocks, so one that is ``missing`` times
    the target needs ``missing**2`` times as many; at least one more, at most three times as many.
    The stopping rule is that of Chow and Robbins, Annals of Mathematical Statistics 36, 1965.

    Args:
        done: blocks so far.
        missing: ratio of the uncertainty to the target; None without a target, NaN if the ratio is
            not known yet.
    """
    if done < FIRST_BLOCKS:
        return FIRST_BLOCKS
    most = _GROWTH * done
    if missing is None or not math.isfinite(missing):
        return most
    return min(max(math.ceil(done * missing**2), done + 1), most)
