"""Image files, which may come from strangers, to Pillow images of the model's channels."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image, UnidentifiedImageError

from iaside_onnx.errors import ImageError

__all__ = ["MAX_PIXELS", "decode_image"]

MAX_PIXELS = 89_478_485
"""Bound on the pixels of one image, decoded or resized: 256 MiB of RGB, Pillow's own threshold."""

_FORMATS = ("JPEG", "PNG", "WEBP")

# What Pillow's readers raise on damaged or hostile files.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    MemoryError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    Image.DecompressionBombError,
    # Only where the caller has turned warnings into errors.
    Image.DecompressionBombWarning,
    UserWarning,
)

_ORIENTATION_TAG = 0x0112

# EXIF 2.32, 4.6.4 A: how the stored image must be moved to stand upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_image(data: bytes, channels: int, where: str) -> Image.Image:
    """The first frame of a JPEG, PNG or WebP file, upright, without its alpha channel.

    Args:
        data: The bytes of the file.
        channels: 3 gives mode RGB, 1 gives mode L (ITU-R 601 luma of a colour image).
        where: What to call the image in an error.

    Raises:
        ImageError: The file is of another format, damaged, cut short, or has more than
            ``MAX_PIXELS`` pixels.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            width, height = image.size
            # The header alone has been read: nothing of this size is allocated yet.
            if width * height <= MAX_PIXELS:
                image.load()
                return _upright(image, _convert(image, channels))
    except UnidentifiedImageError:
        raise ImageError(
            f"{where} is not a JPEG, PNG or WebP image, or its header is damaged; convert, replace "
            "or remove it."
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        pass
    except _DAMAGE as failure:
        reason = " ".join(str(failure).split()) or type(failure).__name__
        raise ImageError(
            f"{where} is damaged or cut short ({reason}); replace or remove it."
        ) from None
    raise ImageError(
        f"{where} has more pixels than the limit of {MAX_PIXELS}; make it smaller or remove it."
    )


def _convert(image: Image.Image, channels: int) -> Image.Image:
    if image.mode.startswith("I"):
        # 16-bit grey: Pillow's own conversion would clip at 255. 65535 = 257 * 255.
        grey = (np.asarray(image).astype(np.uint32) + 128) // 257
        image = Image.fromarray(grey.astype(np.uint8))
    elif image.mode in ("P", "PA"):
        # By way of RGBA, or a transparency table that is given in bytes draws a warning.
        image = image.convert("RGBA")
    if channels == 3:
        return image.convert("RGB")
    # Pillow has no way from CMYK and some others to L in one step.
    return (
        image.convert("L") if image.mode in ("1", "L", "LA") else image.convert("RGB").convert("L")
    )


def _upright(image: Image.Image, pixels: Image.Image) -> Image.Image:
    """Turn ``pixels`` as the EXIF block of ``image`` says; a damaged block says nothing."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except _DAMAGE:
        return pixels
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return pixels if method is None else pixels.transpose(method)
