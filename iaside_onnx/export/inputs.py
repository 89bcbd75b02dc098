"""Images as model input, to compare two models on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.images import BUNDLED_IMAGES, Preprocess, bundled_folder, prepare_array
from iaside_onnx.types import Layout

__all__ = ["bundled_pixels", "image_shape", "to_inputs"]


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


def to_inputs(
    pixels: NDArray[np.float32], spec: Preprocess, layout: Layout, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Pixels as model input; the only place of this room that normalises.

    Args:
        pixels: ``(n, channels, height, width)`` in [0, 1].
        spec: the normalisation.
        layout: of the model's input.
        dtype: of the model's input; uint8 is rounded and clipped to 0..255.

    Returns:
        ``(n, channels, height, width)`` or ``(n, height, width, channels)``, contiguous.
    """
    scale, shift = spec.affine()
    inputs = pixels * scale[:, None, None] + shift[:, None, None]
    if layout == "NHWC":
        inputs = inputs.transpose(0, 2, 3, 1)
    if dtype == np.uint8:
        inputs = inputs.round().clip(0, 255)
    return np.ascontiguousarray(inputs.astype(dtype))


def image_shape(size: tuple[int, int, int], layout: Layout) -> tuple[int, int, int]:
    """The shape of one image in a layout, from ``(channels, height, width)``."""
    channels, height, width = size
    return (height, width, channels) if layout == "NHWC" else size
