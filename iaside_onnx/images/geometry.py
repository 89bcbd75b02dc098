"""Geometry of preprocessing: resize, pad and crop as timm and torchvision do.

Sources: ``timm.data.transforms_factory.transforms_imagenet_eval`` and
``torchvision.transforms.functional``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from iaside_onnx.errors import ImageError
from iaside_onnx.images.decode import MAX_PIXELS
from iaside_onnx.images.preprocess import Preprocess

__all__ = ["Geometry", "plan", "scaled"]


@dataclass(frozen=True, slots=True)
class Geometry:
    """Resize, then pad, then crop; all in pixels.

    Attributes:
        resize: size after the resize, ``(height, width)``.
        pad: pixels added ``(left, top, right, bottom)``.
        top: first row of the crop.
        left: first column of the crop.
    """

    resize: tuple[int, int]
    pad: tuple[int, int, int, int]
    top: int
    left: int


def scaled(side: int, crop_pct: float) -> int:
    """Side of the resized image of which a crop of ``side`` pixels keeps ``crop_pct``."""
    # timm uses a plain floor; the epsilon gives exactly 256 for 224 pixels at crop_pct 224 / 256.
    return math.floor(side / crop_pct + 1e-6)


def plan(height: int, width: int, spec: Preprocess) -> Geometry:
    """Plan how an image of ``height`` by ``width`` pixels is fitted to ``spec.input_size``.

    Raises:
        ImageError: the image is so elongated that resizing it would take more than
            ``MAX_PIXELS`` pixels.
        PreprocessError: ``spec.input_size`` is not set.
    """
    target = spec.size()[1:]
    resize = _resized((height, width), target, spec)
    if resize[0] * resize[1] > MAX_PIXELS:
        raise ImageError(
            f"an image of {height} x {width} pixels would become {resize[0]} x {resize[1]} to fit "
            f"the model's {target[0]} x {target[1]}, over the limit of {MAX_PIXELS} pixels; crop "
            "the image first, or use crop_mode squash"
        )
    missing = [max(want - have, 0) for want, have in zip(target, resize, strict=True)]
    pad = (missing[1] // 2, missing[0] // 2, (missing[1] + 1) // 2, (missing[0] + 1) // 2)
    spare = [h + m - want for h, m, want in zip(resize, missing, target, strict=True)]
    # Python rounds half to even, and so does torchvision's centre crop.
    top, left = (side // 2 if spec.crop_offset == "floor" else round(side / 2) for side in spare)
    return Geometry(resize, pad, top, left)


def _resized(size: tuple[int, int], target: tuple[int, int], spec: Preprocess) -> tuple[int, int]:
    scale = (scaled(target[0], spec.crop_pct), scaled(target[1], spec.crop_pct))
    if spec.crop_mode == "squash":
        return scale
    if spec.crop_mode == "center" and scale[0] == scale[1]:
        short, long = sorted(size)
        longer = int(scale[0] * long / short)
        return (scale[0], longer) if size[0] <= size[1] else (longer, scale[0])
    ratios = [have / want for have, want in zip(size, scale, strict=True)]
    ratio = max(ratios) if spec.crop_mode == "border" else min(ratios)
    # A side of one pixel could round to zero.
    return max(round(size[0] / ratio), 1), max(round(size[1] / ratio), 1)
