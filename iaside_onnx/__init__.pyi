from . import errors
from .analysis import (
    ClassResult,
    Comparison,
    Interactions,
    Verification,
    by_class,
    compare,
    convert,
    interactions,
    merge,
)
from .archive import Archive, open_archive
from .errors import IasideError
from .export import (
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
from .game import (
    Estimate,
    all_coalitions,
    coalition_size,
    estimate,
    membership,
    shapley_interactions,
    shapley_values,
    spectral_distribution,
    spectral_importance_score,
)
from .images import Preprocess
from .model import inspect_model
from .report import plot_bands, plot_classes
from .runs import Options, decompose, extend, verify
from .spectrum import band_components, band_edges, band_index
from .version import __version__

__all__ = [
    "Archive",
    "ClassResult",
    "Comparison",
    "Estimate",
    "Exported",
    "IasideError",
    "Interactions",
    "Options",
    "Preprocess",
    "Quantized",
    "Verification",
    "__version__",
    "all_coalitions",
    "band_components",
    "band_edges",
    "band_index",
    "by_class",
    "coalition_size",
    "compare",
    "convert",
    "decompose",
    "errors",
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
    "interactions",
    "membership",
    "merge",
    "open_archive",
    "plot_bands",
    "plot_classes",
    "quantize",
    "shapley_interactions",
    "shapley_values",
    "spectral_distribution",
    "spectral_importance_score",
    "verify",
]
