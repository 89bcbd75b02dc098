"""Coalitions, the Shapley value, scores and their intervals: arrays in, arrays out."""

from iaside_onnx.game.coalitions import (
    MAX_EXACT_BANDS,
    all_coalitions,
    coalition_size,
    membership,
)
from iaside_onnx.game.intervals import LEVEL, Estimate, estimate
from iaside_onnx.game.scores import (
    is_uniform,
    score_weights,
    spectral_distribution,
    spectral_importance_score,
)
from iaside_onnx.game.shapley import shapley_values

__all__ = [
    "LEVEL",
    "MAX_EXACT_BANDS",
    "Estimate",
    "all_coalitions",
    "coalition_size",
    "estimate",
    "is_uniform",
    "membership",
    "score_weights",
    "shapley_values",
    "spectral_distribution",
    "spectral_importance_score",
]
