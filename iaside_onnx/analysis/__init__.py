"""Analysis of archives: estimates, checks, merging, conversion; no model is run."""

from iaside_onnx.analysis.accuracy import accuracy, chance_warning
from iaside_onnx.analysis.classes import (
    FEW_IMAGES,
    ClassResult,
    Confusion,
    by_class,
    class_names,
    doubtful_names,
    frequent_confusions,
)
from iaside_onnx.analysis.comparison import (
    Accuracy,
    Comparison,
    Group,
    Pair,
    compare,
    compare_pair,
)
from iaside_onnx.analysis.conversion import convert, register_tables, table_names
from iaside_onnx.analysis.estimates import (
    design_of,
    estimate_archives,
    estimate_variables,
    mean_gains,
)
from iaside_onnx.analysis.gates import GATE_LEVEL, Gate, GateKind, GateResult, check_gates
from iaside_onnx.analysis.interactions import Interactions, interactions
from iaside_onnx.analysis.merging import merge
from iaside_onnx.analysis.series import Series, Trend, archives_in, series, worse
from iaside_onnx.analysis.statistics import Interval
from iaside_onnx.analysis.verification import (
    Verification,
    check,
    check_archive,
    check_in_child,
    refuse_damaged,
)

__all__ = [
    "FEW_IMAGES",
    "GATE_LEVEL",
    "Accuracy",
    "ClassResult",
    "Comparison",
    "Confusion",
    "Gate",
    "GateKind",
    "GateResult",
    "Group",
    "Interactions",
    "Interval",
    "Pair",
    "Series",
    "Trend",
    "Verification",
    "accuracy",
    "archives_in",
    "by_class",
    "chance_warning",
    "check",
    "check_archive",
    "check_gates",
    "check_in_child",
    "class_names",
    "compare",
    "compare_pair",
    "convert",
    "design_of",
    "doubtful_names",
    "estimate_archives",
    "estimate_variables",
    "frequent_confusions",
    "interactions",
    "mean_gains",
    "merge",
    "refuse_damaged",
    "register_tables",
    "series",
    "table_names",
    "worse",
]
