"""Decode untrusted image files to Pillow images with the model's number of channels."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image, UnidentifiedImageError

from iaside_onnx.errors import ImageError

__all__ = ["MAX_PIXELS", "decode_image"]

MAX_PIXELS = 89_478_485
"""Most pixels of one image, decoded or resized: 256 MiB of RGB, Pillow's own threshold."""

_FORMATS = ("JPEG", "PNG", "WEBP")

# Exceptions of Pillow's decoders on damaged or hostile files.
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
    # Raised only if the caller has turned warnings into errors.
    Image.DecompressionBombWarning,
    UserWarning,
)

_ORIENTATION_TAG = 0x0112

# EXIF 2.32, 4.6.4 A: the transposition that displays the stored image upright.
#
# `PIL.ImageOps.exif_transpose` also rewrites the EXIF block, which raises on blocks with a valid
# orientation and another, damaged entry. Such an image would be refused or keep a wrong
# orientation. Nobody reads the block afterwards, so only the pixels are transposed here.
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
    """Decode the first frame of a JPEG, PNG or WebP file, upright, without alpha.

    Args:
        data: the bytes of the file.
        channels: 3 gives mode RGB, 1 gives mode L (ITU-R 601 luma of a colour image).
        where: what to call the image in an error.

    Raises:
        ImageError: the file is of another format, damaged, cut short, or has more than
            ``MAX_PIXELS`` pixels.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            width, height = image.size
            # Only the header has been read: no memory for the pixels is allocated yet.
            if width * height <= MAX_PIXELS:
                image.load()
                return _upright(image, _convert(image, channels))
    except UnidentifiedImageError:
        raise ImageError(
            f"{where} is not a JPEG, PNG or WebP image, or its header is damaged; convert, replace "
            "or remove it"
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        pass
    except _DAMAGE as failure:
        reason = " ".join(str(failure).split()) or type(failure).__name__
        raise ImageError(
            f"{where} is damaged or cut short ({reason}); replace or remove it"
        ) from None
    raise ImageError(
        f"{where} has more pixels than the limit of {MAX_PIXELS}; make it smaller or remove it"
    )


def _convert(image: Image.Image, channels: int) -> Image.Image:
    if image.mode.startswith("I"):
        # 16-bit grey: Pillow's own conversion would clip at 255. 65535 = 257 * 255.
        grey = (np.asarray(image).astype(np.uint32) + 128) // 257
        image = Image.fromarray(grey.astype(np.uint8))
    elif image.mode in ("P", "PA"):
        # Pillow warns if it converts a palette with a transparency table to RGB in one step.
        image = image.convert("RGBA")
    if channels == 3:
        return image.convert("RGB")
    # Pillow cannot convert CMYK and some other modes to L in one step.
    return (
        image.convert("L") if image.mode in ("1", "L", "LA") else image.convert("RGB").convert("L")
    )


def _upright(image: Image.Image, pixels: Image.Image) -> Image.Image:
    """Transpose ``pixels`` by the EXIF orientation of ``image``; a damaged block is ignored."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except _DAMAGE:
        return pixels
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return pixels if method is None else pixels.transpose(method)
