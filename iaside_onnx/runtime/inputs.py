"""From pixels to model inputs: normalised, in the model's layout and type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from iaside_onnx.types import Layout

__all__ = ["InputTransform"]


@dataclass(frozen=True, slots=True, eq=False)
class InputTransform:
    """How pixels in [0, 1] become the input of one model.

    The whole transform is a call. Its steps are methods, because the affine normalisation may be
    applied to an offset and its components before they are mixed.

    Attributes:
        scale: ``(channels,)`` float32; the input is ``scale * pixel + shift``.
        shift: ``(channels,)`` float32.
        layout: the model's layout.
        dtype: the model's input type; values are rounded and clipped to 0..255 for uint8.
        xp: the array module that all arrays belong to, NumPy or CuPy.
    """

    scale: Any
    shift: Any
    layout: Layout
    dtype: np.dtype[Any]
    xp: Any = np

    def __call__(self, pixels: Any) -> Any:
        """Model inputs of pixels, ``(n, channels, height, width)`` float32, which are unchanged.

        Returns:
            A contiguous array ``(n, ...)`` in the model's layout and type.
        """
        normalised = self.normalised(self.to_layout(pixels))
        inputs = self.xp.empty(normalised.shape, self.dtype)
        self.cast_into(normalised, inputs)
        return inputs

    def image_shape(self, size: tuple[int, int, int]) -> tuple[int, int, int]:
        """Shape of one image of ``(channels, height, width)`` in the model's layout."""
        channels, height, width = size
        return (height, width, channels) if self.layout == "NHWC" else size

    def to_layout(self, images: Any) -> Any:
        """Images ``(..., channels, height, width)`` in the model's layout, contiguous if moved."""
        if self.layout == "NCHW":
            return images
        return self.xp.ascontiguousarray(self.xp.moveaxis(images, -3, -1))

    def normalised(self, images: Any) -> Any:
        """A normalised copy of images in the model's layout."""
        return images * self._along_channels(self.scale) + self._along_channels(self.shift)

    def normalise(self, images: Any) -> None:
        """Normalise images in the model's layout in place."""
        images *= self._along_channels(self.scale)
        images += self._along_channels(self.shift)

    def cast_into(self, images: Any, out: Any) -> None:
        """Write normalised images into ``out``, of the model's type; may overwrite ``images``."""
        if self.dtype == np.uint8:
            self.xp.clip(self.xp.rint(images, out=images), 0, 255, out=images)
        out[...] = images

    def _along_channels(self, values: Any) -> Any:
        return values if self.layout == "NHWC" else values.reshape(-1, 1, 1)
