"""ONNX models, sessions, predictions, and the worth of coalitions."""

from iaside_onnx.runtime.classifier import Classifier, load_classifier
from iaside_onnx.runtime.graph import GraphFacts, read_graph
from iaside_onnx.runtime.hints import OutputHint, output_hint
from iaside_onnx.runtime.inputs import InputTransform, image_shape
from iaside_onnx.runtime.operators import FloatType, Operators, read_operators
from iaside_onnx.runtime.outputs import (
    floor_of,
    kind_of_values,
    label_log_probabilities,
    log_probabilities,
    resolve_output_kind,
    usable_outputs,
)
from iaside_onnx.runtime.packing import Answer, Game
from iaside_onnx.runtime.predictor import Predictor
from iaside_onnx.runtime.profile import Profile
from iaside_onnx.runtime.session import (
    Execution,
    SessionWords,
    available_providers,
    import_runtime,
    open_session,
    usable_cores,
)
from iaside_onnx.runtime.signature import Signature
from iaside_onnx.runtime.tuning import fastest_batch
from iaside_onnx.runtime.worth import WorthEvaluator

__all__ = [
    "Answer",
    "Classifier",
    "Execution",
    "FloatType",
    "Game",
    "GraphFacts",
    "InputTransform",
    "Operators",
    "OutputHint",
    "Predictor",
    "Profile",
    "SessionWords",
    "Signature",
    "WorthEvaluator",
    "available_providers",
    "fastest_batch",
    "floor_of",
    "image_shape",
    "import_runtime",
    "kind_of_values",
    "label_log_probabilities",
    "load_classifier",
    "log_probabilities",
    "open_session",
    "output_hint",
    "read_graph",
    "read_operators",
    "resolve_output_kind",
    "usable_cores",
    "usable_outputs",
]
