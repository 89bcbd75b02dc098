"""What a model takes, what it gives, and how images are prepared for it."""

from iaside_onnx.model.inspection import Inspection, inspect_model
from iaside_onnx.model.opening import FoundModel, input_transform, make_predictor
from iaside_onnx.model.outputs import AutoOutputKind, Outputs, check_choices, examine_outputs
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
    "check_choices",
    "choose_preprocess",
    "complete_preprocess",
    "examine_outputs",
    "input_transform",
    "inspect_model",
    "make_predictor",
]
