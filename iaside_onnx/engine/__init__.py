"""Runs the other rooms: plan, local run, progress."""

from iaside_onnx.engine.decomposition import decompose
from iaside_onnx.engine.inspection import Inspection, inspect_model
from iaside_onnx.engine.options import Options, OptionWords
from iaside_onnx.engine.preprocessing import METADATA_KEY
from iaside_onnx.engine.progress import LogProgress, Progress

__all__ = [
    "METADATA_KEY",
    "Inspection",
    "LogProgress",
    "OptionWords",
    "Options",
    "Progress",
    "decompose",
    "inspect_model",
]
