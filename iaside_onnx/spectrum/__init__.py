"""Frequency bands: which frequency lies where, and images filtered to them."""

from iaside_onnx.spectrum.filters import band_components, band_energy, noise_like
from iaside_onnx.spectrum.partition import MAX_BANDS, band_edges, band_index
from iaside_onnx.spectrum.synthesis import limit_range, mix
from iaside_onnx.spectrum.turns import Each, in_turn

__all__ = [
    "MAX_BANDS",
    "Each",
    "band_components",
    "band_edges",
    "band_energy",
    "band_index",
    "in_turn",
    "limit_range",
    "mix",
    "noise_like",
]
