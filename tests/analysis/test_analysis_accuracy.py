"""When an accuracy is called chance level."""

from __future__ import annotations

import numpy as np
import pytest

from iaside_onnx.analysis import chance_warning


@pytest.mark.parametrize(
    ("right", "n", "classes", "warned"),
    [
        # Binomial tails by hand: P(X >= 1) = 0.81 among 10 classes, P(X <= 1) = 0.0003 at 1/2.
        (1, 16, 10, True),
        (0, 200, 1000, True),
        # P(X >= 5) = 0.017 among 10: better than guessing.
        (5, 16, 10, False),
        # One or two images say nothing: P(X <= 0) = 0.5 and 0.25 at 1/2.
        (0, 1, 10, False),
        (0, 2, 10, False),
        # P(X <= 0) = 0.03.
        (0, 5, 10, True),
        (16, 16, 10, False),
    ],
)
def test_chance_is_said_where_there_is_evidence(
    right: int, n: int, classes: int, warned: bool
) -> None:
    """A false alarm teaches people to ignore it; a missed one archives nonsense."""
    labels = np.zeros(n, dtype=np.int64)
    predicted = np.ones(n, dtype=np.int64)
    predicted[:right] = 0
    assert (chance_warning(predicted, labels, classes) is not None) is warned
