"""Coalitions, designs, the Shapley value, scores and their intervals: arrays in, arrays out."""

from iaside_onnx.game.coalitions import (
    MAX_EXACT_BANDS,
    all_coalitions,
    coalition_size,
    membership,
)
from iaside_onnx.game.design import (
    Design,
    Pass,
    design_names,
    design_type,
    make_design,
    register,
)
from iaside_onnx.game.differences import Differences, differences, joint_moments
from iaside_onnx.game.draw import draw_order
from iaside_onnx.game.exact import ExactDesign
from iaside_onnx.game.interactions import shapley_interactions
from iaside_onnx.game.intervals import Estimate, estimate, estimate_moments
from iaside_onnx.game.moments import LEVEL, Moments, block_moments, unit_moments
from iaside_onnx.game.paired import MAX_SAMPLED_BANDS, PairedDesign, SlotLayout
from iaside_onnx.game.rounds import FIRST_BLOCKS, next_end
from iaside_onnx.game.scores import (
    is_uniform,
    score_weights,
    spectral_distribution,
    spectral_importance_score,
)
from iaside_onnx.game.shapley import shapley_values

__all__ = [
    "FIRST_BLOCKS",
    "LEVEL",
    "MAX_EXACT_BANDS",
    "MAX_SAMPLED_BANDS",
    "Design",
    "Differences",
    "Estimate",
    "ExactDesign",
    "Moments",
    "PairedDesign",
    "Pass",
    "SlotLayout",
    "all_coalitions",
    "block_moments",
    "coalition_size",
    "design_names",
    "design_type",
    "differences",
    "draw_order",
    "estimate",
    "estimate_moments",
    "is_uniform",
    "joint_moments",
    "make_design",
    "membership",
    "next_end",
    "register",
    "score_weights",
    "shapley_interactions",
    "shapley_values",
    "spectral_distribution",
    "spectral_importance_score",
    "unit_moments",
]
