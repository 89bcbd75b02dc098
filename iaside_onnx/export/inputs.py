"""Bundled images, to compare two models on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.images import BUNDLED_IMAGES, Preprocess, bundled_folder, prepare_array

__all__ = ["bundled_pixels"]


def bundled_pixels(spec: Preprocess, n: int) -> NDArray[np.float32]:
    """Bundled images mixed with noise, from none to only noise: all frequencies and colours.

    Args:
        spec: how images are prepared; ``input_size`` must be set.
        n: number of images.

    Returns:
        ``(n, channels, height, width)`` in [0, 1].
    """
    with np.load(bundled_folder() / BUNDLED_IMAGES) as bundled:
        images = bundled["images"][:n]
    pixels = np.stack([prepare_array(image, spec) for image in images])
    noise = np.random.default_rng(0).random(pixels.shape, dtype=np.float32)
    share = np.linspace(0, 1, n, dtype=np.float32)[:, None, None, None]
    return np.asarray((1 - share) * pixels + share * noise)
