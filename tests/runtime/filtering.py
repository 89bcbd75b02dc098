"""Bands of an image by another library and in float64, to compare with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["bands_of"]


def bands_of(
    image: NDArray[np.float32], index: NDArray[np.int64], bands: int
) -> NDArray[np.float64]:
    """The part of an image ``(C, H, W)`` in each band, ``(bands, C, H, W)``, by ``numpy.fft``."""
    spectrum = np.fft.rfft2(image.astype(np.float64))
    return np.stack(
        [np.fft.irfft2(spectrum * (index == band), s=image.shape[-2:]) for band in range(bands)]
    )
