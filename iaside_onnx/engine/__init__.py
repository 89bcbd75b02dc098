"""Runs the other rooms: plan, local run, progress."""

from iaside_onnx.engine.decomposition import decompose
from iaside_onnx.engine.extension import extend
from iaside_onnx.engine.inspection import Inspection, inspect_model
from iaside_onnx.engine.merging import merge
from iaside_onnx.engine.options import DEFAULT_BUDGET, Options, OptionWords
from iaside_onnx.engine.preprocessing import METADATA_KEY
from iaside_onnx.engine.progress import LogProgress, Progress
from iaside_onnx.engine.verification import Verification, verify

__all__ = [
    "DEFAULT_BUDGET",
    "METADATA_KEY",
    "Inspection",
    "LogProgress",
    "OptionWords",
    "Options",
    "Progress",
    "Verification",
    "decompose",
    "extend",
    "inspect_model",
    "merge",
    "verify",
]
