"""Prepare images and arrays: pixels of the model's size, channels and colour order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from iaside_onnx.errors import ImageError
from iaside_onnx.images.geometry import plan
from iaside_onnx.images.preprocess import Interpolation, Preprocess
from iaside_onnx.types import Pixels

__all__ = ["prepare", "prepare_array"]

_FILTERS: dict[Interpolation, Image.Resampling] = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}

# ITU-R 601 luma in the sixteen-bit fixed point of Pillow's conversion to L.
_LUMA = np.array([19595, 38470, 7471]) / 65536


def prepare(image: Image.Image, spec: Preprocess) -> Pixels:
    """Resize, pad and crop as timm does, then scale to [0, 1].

    Args:
        image: mode RGB or L; converted if the model has another number of channels.
        spec: ``input_size`` must be set.

    Returns:
        ``(channels, height, width)``, contiguous, channels in the model's order.

    Raises:
        ImageError: the image is too elongated to be resized.
        PreprocessError: ``spec.input_size`` is not set.
    """
    mode = "L" if spec.size()[0] == 1 else "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    fill = _fill(spec)
    fitted = _fit(image, spec, fill[0] if mode == "L" else fill)
    return _ordered(_unit(np.asarray(fitted).reshape(*spec.size()[1:], -1)), spec)


def prepare_array(array: NDArray[Any], spec: Preprocess) -> Pixels:
    """As ``prepare``, for an array; an array of the model's size is neither resized nor cropped.

    Grey is repeated to give colour, colour is reduced to the ITU-R 601 luma, alpha is dropped.

    Args:
        array: ``(height, width)`` or ``(height, width, 1 to 4)``, RGB, uint8 or float in [0, 1].
        spec: ``input_size`` must be set.

    Raises:
        ImageError: the array has another shape or type, or is too elongated to be resized.
        PreprocessError: ``spec.input_size`` is not set.
    """
    channels, height, width = spec.size()
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4) or 0 in array.shape:
        raise ImageError(
            f"an image of shape {array.shape} is neither (height, width) nor (height, width, "
            "channels) with 1 to 4 channels; reshape it"
        )
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise ImageError(
            f"an image of type {array.dtype} is neither uint8 nor float in [0, 1]; convert it"
        )
    # Drop the alpha channel of grey or colour.
    array = array[:, :, :1] if array.shape[2] < 3 else array[:, :, :3]
    same_size = array.shape[:2] == (height, width)
    if array.dtype == np.uint8:
        image = Image.fromarray(
            np.ascontiguousarray(array[:, :, 0] if array.shape[2] == 1 else array)
        )
        if not same_size:
            return prepare(image, spec)
        array = np.asarray(image.convert("L" if channels == 1 else "RGB"))
        return _ordered(_unit(array.reshape(height, width, channels)), spec)
    return _ordered(_float_channels(array, spec, same_size), spec)


def _float_channels(array: NDArray[Any], spec: Preprocess, same_size: bool) -> NDArray[np.float32]:
    """Convert floats of any size to ``(height, width, channels)`` of the model, RGB."""
    if spec.size()[0] == 1 and array.shape[2] == 3:
        array = (array.astype(np.float64) @ _LUMA)[:, :, None]
    array = array.astype(np.float32)
    if not same_size:
        fill = _fill(spec)
        planes = [
            np.asarray(_fit(Image.fromarray(array[:, :, c].copy()), spec, fill[c] / 255))
            for c in range(array.shape[2])
        ]
        # Bicubic and Lanczos overshoot at edges; Pillow clips uint8 images by itself.
        array = np.clip(np.stack(planes, axis=2), 0, 1)
    return np.broadcast_to(array, (*array.shape[:2], spec.size()[0]))


def _fit(image: Image.Image, spec: Preprocess, fill: float | tuple[int, ...]) -> Image.Image:
    """Resize, pad and crop an image of any mode to the size of the model."""
    _, height, width = spec.size()
    geometry = plan(image.height, image.width, spec)
    image = image.resize(geometry.resize[::-1], _FILTERS[spec.interpolation])
    if any(geometry.pad):
        left, top, right, bottom = geometry.pad
        padded = (image.width + left + right, image.height + top + bottom)
        canvas = Image.new(image.mode, padded, fill)
        canvas.paste(image, (left, top))
        image = canvas
    box = (geometry.left, geometry.top, geometry.left + width, geometry.top + height)
    return image.crop(box)


def _fill(spec: Preprocess) -> tuple[int, ...]:
    """Mean colour in 0..255, one value per channel, in RGB order."""
    lo, hi = spec.value_range
    channels = spec.size()[0]
    means = spec.mean * channels if len(spec.mean) == 1 else spec.mean
    colour = tuple(min(max(round(255 * (m - lo) / (hi - lo)), 0), 255) for m in means)
    return colour[::-1] if spec.color_order == "bgr" else colour


def _unit(values: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.divide(values, 255, dtype=np.float32)


def _ordered(pixels: NDArray[np.float32], spec: Preprocess) -> Pixels:
    """``(height, width, channels)``, RGB, to ``(channels, height, width)`` in the model's order."""
    if spec.color_order == "bgr":
        pixels = pixels[:, :, ::-1]
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)
