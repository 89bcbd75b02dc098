"""Images as a model takes them, to compare two models on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from iaside_onnx.images import BUNDLED_IMAGES, Preprocess, bundled_folder, prepare_array
from iaside_onnx.types import Layout

__all__ = ["as_type", "bundled_pixels", "image_shape", "to_inputs"]


def bundled_pixels(spec: Preprocess, n: int) -> NDArray[np.float32]:
    """Bundled images, from as they are to noise: all frequencies and colours are there.

    Args:
        spec: ``input_size`` must be set.
        n: how many.

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
    """Pixels ``(n, channels, height, width)`` in [0, 1], normalised, in a model's layout."""
    scale, shift = spec.affine()
    inputs = pixels * scale[:, None, None] + shift[:, None, None]
    if layout == "NHWC":
        inputs = inputs.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(as_type(inputs, dtype))


def image_shape(size: tuple[int, int, int], layout: Layout) -> tuple[int, int, int]:
    """The shape of one image of channels, height and width, in a layout."""
    channels, height, width = size
    return (height, width, channels) if layout == "NHWC" else size


def as_type(inputs: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """In a model's type; bytes are rounded and clipped."""
    return (inputs.round().clip(0, 255) if dtype == np.uint8 else inputs).astype(dtype)
