"""Audit how an image classifier uses spatial frequencies, through ONNX.

I-ASIDE: Luo, McDermott, O'Riordan, TMLR 2024, arXiv:2408.01139.
"""

from iaside_onnx.analysis import Verification, convert, merge
from iaside_onnx.archive import Archive, open_archive
from iaside_onnx.errors import IasideError
from iaside_onnx.export import (
    Exported,
    Quantized,
    export_jax,
    export_keras,
    export_saved_model,
    export_sklearn,
    export_tflite,
    export_timm,
    export_torch,
    quantize,
)
from iaside_onnx.game import (
    Estimate,
    all_coalitions,
    coalition_size,
    estimate,
    membership,
    shapley_values,
    spectral_distribution,
    spectral_importance_score,
)
from iaside_onnx.images import Preprocess
from iaside_onnx.model import inspect_model
from iaside_onnx.runs import Options, decompose, extend, verify
from iaside_onnx.spectrum import band_components, band_edges, band_index
from iaside_onnx.version import __version__

__all__ = [
    "Archive",
    "Estimate",
    "Exported",
    "IasideError",
    "Options",
    "Preprocess",
    "Quantized",
    "Verification",
    "__version__",
    "all_coalitions",
    "band_components",
    "band_edges",
    "band_index",
    "coalition_size",
    "convert",
    "decompose",
    "estimate",
    "export_jax",
    "export_keras",
    "export_saved_model",
    "export_sklearn",
    "export_tflite",
    "export_timm",
    "export_torch",
    "extend",
    "inspect_model",
    "membership",
    "merge",
    "open_archive",
    "quantize",
    "shapley_values",
    "spectral_distribution",
    "spectral_importance_score",
    "verify",
]
