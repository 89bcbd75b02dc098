"""Runs: from a model and images to an archive, in one process or in several."""

from iaside_onnx.progress import LogProgress, Progress
from iaside_onnx.runs.decomposition import decompose
from iaside_onnx.runs.evaluator import Evaluator
from iaside_onnx.runs.executors import Executor, LocalExecutor, ProcessExecutor
from iaside_onnx.runs.extension import extend
from iaside_onnx.runs.jobs import Job
from iaside_onnx.runs.options import DEFAULT_BUDGET, Options, OptionWords
from iaside_onnx.runs.verification import verify

__all__ = [
    "DEFAULT_BUDGET",
    "Evaluator",
    "Executor",
    "Job",
    "LocalExecutor",
    "LogProgress",
    "OptionWords",
    "Options",
    "ProcessExecutor",
    "Progress",
    "decompose",
    "extend",
    "verify",
]
