"""Models of other frameworks to ONNX, one module per framework; and ONNX to FP16 and INT8."""

from iaside_onnx.export.finishing import EXPORT_KEY, Exported
from iaside_onnx.export.jax import export_jax
from iaside_onnx.export.keras import export_keras
from iaside_onnx.export.quantization import QUANTIZE_KEY, Precision, Quantized, quantize
from iaside_onnx.export.saved_model import export_saved_model
from iaside_onnx.export.sklearn import export_sklearn
from iaside_onnx.export.target import ExportOptions, Target
from iaside_onnx.export.tflite import export_tflite
from iaside_onnx.export.timm import export_timm
from iaside_onnx.export.torch import export_torch

__all__ = [
    "EXPORT_KEY",
    "QUANTIZE_KEY",
    "ExportOptions",
    "Exported",
    "Precision",
    "Quantized",
    "Target",
    "export_jax",
    "export_keras",
    "export_saved_model",
    "export_sklearn",
    "export_tflite",
    "export_timm",
    "export_torch",
    "quantize",
]
