"""Sequential rounds: how far the next one goes."""

from __future__ import annotations

import math

import pytest

from iaside_onnx.game import next_end


@pytest.mark.parametrize(
    ("done", "missing", "end"),
    [
        (0, None, 16),  # too few blocks to know their spread
        (0, 50.0, 16),
        (16, None, 48),  # no target: threefold, to tell of progress
        (16, math.nan, 48),
        (16, 1.2, 24),  # 16 * 1.44 = 23.04
        (16, 9.0, 48),  # never more than threefold
        (16, 1.01, 17),
        (16, 1.0, 17),  # never less than one more
        (100, 1.5, 225),
    ],
)
def test_next_end(done: int, missing: float | None, end: int) -> None:
    """A run that never ends, or that spends ten times what it has to."""
    assert next_end(done, missing) == end
