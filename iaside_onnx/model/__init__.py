"""What a model takes, what it gives, and how images are prepared for it."""

from iaside_onnx.model.inspection import Inspection, inspect_model
from iaside_onnx.model.opening import FoundModel, make_predictor
from iaside_onnx.model.outputs import AutoOutputKind, Outputs, examine_outputs
from iaside_onnx.model.preprocessing import (
    METADATA_KEY,
    PreprocessLike,
    choose_preprocess,
    complete_preprocess,
)

__all__ = [
    "METADATA_KEY",
    "AutoOutputKind",
    "FoundModel",
    "Inspection",
    "Outputs",
    "PreprocessLike",
    "choose_preprocess",
    "complete_preprocess",
    "examine_outputs",
    "inspect_model",
    "make_predictor",
]
