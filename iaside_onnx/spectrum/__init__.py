"""Frequency bands: which frequency lies where, and images filtered to them."""

from iaside_onnx.spectrum.filters import band_components, band_energy, noise_like
from iaside_onnx.spectrum.parallel import ParallelFor, serial_for
from iaside_onnx.spectrum.partition import MAX_BANDS, band_edges, band_index
from iaside_onnx.spectrum.synthesis import MixOrder, limit_range, mix, mix_order

__all__ = [
    "MAX_BANDS",
    "MixOrder",
    "ParallelFor",
    "band_components",
    "band_edges",
    "band_energy",
    "band_index",
    "limit_range",
    "mix",
    "mix_order",
    "noise_like",
    "serial_for",
]
