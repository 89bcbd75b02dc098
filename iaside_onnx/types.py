"""Every array alias, with its shape and unit, and the words that options may take."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BASELINES",
    "CONSTANT_BASELINES",
    "INFERENCES",
    "LAYOUTS",
    "OUTPUT_KINDS",
    "PARTITIONS",
    "PIXEL_RANGES",
    "SPACINGS",
    "BandIndex",
    "Baseline",
    "Coalitions",
    "Components",
    "Inference",
    "Layout",
    "OutputKind",
    "Partition",
    "Phi",
    "PixelRange",
    "Pixels",
    "Spacing",
    "Worth",
]

Pixels: TypeAlias = NDArray[np.float32]
"""One prepared image, ``(channels, height, width)``, in [0, 1], channels in the model's order."""

Components: TypeAlias = NDArray[np.float32]
"""One image divided over a baseline: ``(bands, channels, height, width)``, in pixel units."""

BandIndex: TypeAlias = NDArray[np.int64]
"""The band of each frequency of a real FFT, ``(height, width // 2 + 1)``, 0 is the lowest."""

Coalitions: TypeAlias = NDArray[np.uint64]
"""Sets of bands, ``(n,)``; bit i says whether band i is present."""

Worth: TypeAlias = NDArray[np.float32]
"""Log-probability of the label, in nats, ``(..., n_coalitions)``."""

Phi: TypeAlias = NDArray[np.float64]
"""Contributions of the bands, in nats, ``(..., bands)``."""

Partition: TypeAlias = Literal["linf", "l2", "l1"]
Spacing: TypeAlias = Literal["linear", "octave"]
Baseline: TypeAlias = Literal["zero", "mean", "noise", "complement"]
PixelRange: TypeAlias = Literal["none", "clip", "minmax"]
OutputKind: TypeAlias = Literal["logits", "probabilities", "log-probabilities"]
Inference: TypeAlias = Literal["population", "sample"]
Layout: TypeAlias = Literal["NCHW", "NHWC"]

PARTITIONS: tuple[Partition, ...] = ("linf", "l2", "l1")
SPACINGS: tuple[Spacing, ...] = ("linear", "octave")
BASELINES: tuple[Baseline, ...] = ("zero", "mean", "noise", "complement")
CONSTANT_BASELINES: tuple[Baseline, ...] = ("zero", "mean")
"""Those that are the same for all images."""
PIXEL_RANGES: tuple[PixelRange, ...] = ("none", "clip", "minmax")
OUTPUT_KINDS: tuple[OutputKind, ...] = ("logits", "probabilities", "log-probabilities")
INFERENCES: tuple[Inference, ...] = ("population", "sample")
LAYOUTS: tuple[Layout, ...] = ("NCHW", "NHWC")
