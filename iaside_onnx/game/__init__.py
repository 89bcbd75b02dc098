"""Coalitions, the Shapley value, scores and their intervals: arrays in, arrays out."""

from iaside_onnx.game.coalitions import (
    MAX_EXACT_BANDS,
    all_coalitions,
    coalition_size,
    membership,
)
from iaside_onnx.game.designs import (
    EMPTY_SLOT,
    FULL_SLOT,
    MAX_SAMPLED_BANDS,
    PairedDesign,
    SlotLayout,
)
from iaside_onnx.game.intervals import LEVEL, Estimate, estimate, estimate_blocks
from iaside_onnx.game.rounds import FIRST_BLOCKS, next_end
from iaside_onnx.game.scores import (
    is_uniform,
    score_weights,
    spectral_distribution,
    spectral_importance_score,
)
from iaside_onnx.game.shapley import shapley_values

__all__ = [
    "EMPTY_SLOT",
    "FIRST_BLOCKS",
    "FULL_SLOT",
    "LEVEL",
    "MAX_EXACT_BANDS",
    "MAX_SAMPLED_BANDS",
    "Estimate",
    "PairedDesign",
    "SlotLayout",
    "all_coalitions",
    "coalition_size",
    "estimate",
    "estimate_blocks",
    "is_uniform",
    "membership",
    "next_end",
    "score_weights",
    "shapley_values",
    "spectral_distribution",
    "spectral_importance_score",
]
