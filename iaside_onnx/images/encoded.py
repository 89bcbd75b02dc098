"""Image files as bytes, wherever they were kept, to prepared pixels."""

from __future__ import annotations

from iaside_onnx.errors import ImageError
from iaside_onnx.images.decode import decode_image
from iaside_onnx.images.prepare import prepare
from iaside_onnx.images.preprocess import Preprocess
from iaside_onnx.images.sample import Sample, sha256_of

__all__ = ["IMAGE_SUFFIXES", "MAX_FILE_BYTES", "encoded_sample"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
MAX_FILE_BYTES = 512 * 2**20
"""Bound on one image file, in bytes."""


def encoded_sample(data: bytes, spec: Preprocess, where: str) -> Sample:
    """Decode and prepare the bytes of one image file.

    Raises:
        ImageError: It cannot be decoded or resized; the message begins with ``where``.
    """
    image = decode_image(data, spec.size()[0], where)
    try:
        pixels = prepare(image, spec)
    except ImageError as error:
        raise ImageError(f"{where}: {error}") from None
    return Sample(pixels, sha256_of(data))
