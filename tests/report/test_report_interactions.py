"""Interactions of pairs of bands in sentences."""

from __future__ import annotations

import numpy as np

from iaside_onnx.analysis import Interactions
from iaside_onnx.report.interactions import interaction_words


def three_bands(values: list[float], reach: float, images: int = 9) -> Interactions:
    """Interactions of bands 0 and 1, 0 and 2, 1 and 2."""
    matrix = np.zeros((3, 3))
    matrix[np.triu_indices(3, 1)] = values
    matrix += matrix.T
    margin = reach * (1 - np.eye(3))
    return Interactions(3, images, matrix, matrix - margin, matrix + margin)


def test_need_and_overlap_are_not_mixed_up() -> None:
    """Whoever acts on it would filter out the band that the other one needs."""
    assert interaction_words(three_bands([2, 0.25, -1.5], 0.5)) == [
        "bands 0 and 1: +2.000 [+1.500, +2.500] nats: they need each other (worth more together "
        "than apart)",
        "bands 1 and 2: -1.500 [-2.000, -1.000] nats: they overlap (worth less together than "
        "apart)",
    ]


def test_the_strongest_come_first_and_the_rest_is_left_out() -> None:
    """With 16 bands there are 120 pairs."""
    (line,) = interaction_words(three_bands([-2, -3, -1], 0.5), most=1)
    assert line.startswith("bands 0 and 2: -3.000")


def test_what_is_not_certain_is_not_claimed() -> None:
    """Noise, or a single image, would be read as a finding."""
    assert interaction_words(three_bands([2, 1, -1], 5)) == [
        "every interval holds 0; more images would make them narrower"
    ]
    (line,) = interaction_words(three_bands([2, 1, -1], np.nan, images=1))
    assert "nothing is certain" in line
