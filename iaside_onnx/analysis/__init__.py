"""Analysis of archives: estimates, checks, merging, conversion; no model is run."""

from iaside_onnx.analysis.accuracy import accuracy, chance_warning
from iaside_onnx.analysis.conversion import convert, table_names
from iaside_onnx.analysis.estimates import estimate_archives, estimate_variables, mean_gains
from iaside_onnx.analysis.merging import merge
from iaside_onnx.analysis.verification import (
    Verification,
    check,
    check_archive,
    check_in_child,
)

__all__ = [
    "Verification",
    "accuracy",
    "chance_warning",
    "check",
    "check_archive",
    "check_in_child",
    "convert",
    "estimate_archives",
    "estimate_variables",
    "mean_gains",
    "merge",
    "table_names",
]
