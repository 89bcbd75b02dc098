"""Decode untrusted image files to Pillow images with the model's number of channels."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image, UnidentifiedImageError

from iaside_onnx.errors import ImageError
from iaside_onnx.images.png import without_texts
from iaside_onnx.images.said import NOTICES, Notices, collected

__all__ = ["IMAGE_SUFFIXES", "MAX_PIXELS", "decode_image"]

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif", ".jfif",
)  # fmt: skip
"""Suffixes of image files: those of torchvision's ImageFolder, .gif and .jfif."""

MAX_PIXELS = 89_478_485
"""Most pixels of one image, decoded or resized: 256 MiB of RGB, Pillow's own threshold."""

# Formats whose decoders run no other program and read no other file.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "PPM", "TIFF")
_NAMES = "JPEG, PNG, WebP, BMP, GIF, PPM or TIFF"

# Modes of Pillow that have 8 bits or fewer a channel, and a conversion to RGB.
_MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")

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
# TIFF 6.0, section 15: width and length of a tile. Common ones have 256 to 1,024 pixels a side.
_TILE_TAGS = (322, 323)
_MAX_TILE_PIXELS = 2**24

# EXIF 2.32, 4.6.4 A: the transposition that displays the stored image upright.
#
# `PIL.ImageOps.exif_transpose` also rewrites the EXIF block. That raises on blocks with a valid
# orientation and another, damaged entry, so the image would be refused, or read unturned. The block
# is not used afterwards; only the pixels are transposed here.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_image(data: bytes, channels: int, where: str, notices: Notices = NOTICES) -> Image.Image:
    """Decode the first frame of an image file, upright, without alpha.

    The formats are JPEG, PNG, WebP, BMP, GIF, PPM (PBM, PGM) and TIFF. Pillow's warnings are said
    with the name of the image, by the logger ``iaside_onnx``.

    Args:
        data: the bytes of the file.
        channels: 3 gives mode RGB, 1 gives mode L (ITU-R 601 luma of a colour image).
        where: what to call the image in an error.
        notices: where warnings go.

    Raises:
        ImageError: the file is of another format, damaged, cut short, has more than
            ``MAX_PIXELS`` pixels, or pixels of another kind than 8 or 16 bits.
    """
    texts: list[str] = []
    with collected(texts):
        image = _decode(data, channels, where, texts)
    notices.say(where, texts)
    return image


def _decode(data: bytes, channels: int, where: str, texts: list[str]) -> Image.Image:
    """As `decode_image`; what is to be said of the image is appended to ``texts``."""
    try:
        with _open(data) as image:
            width, height = image.size
            # Only the header has been read: no memory for the pixels is allocated yet.
            if width * height <= MAX_PIXELS:
                # A JPEG of several pictures is a photograph with its previews.
                if getattr(image, "is_animated", False) and image.format not in ("JPEG", "MPO"):
                    texts.append("the file has several frames, of which the first is taken")
                _refuse_large_tiles(image)
                image.load()
                return _upright(image, _convert(image, channels))
    except ImageError as error:
        raise ImageError(f"{where} {error}") from None
    except UnidentifiedImageError:
        raise ImageError(
            f"{where} is not a {_NAMES} image, or its header is damaged; convert, replace "
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


def _refuse_large_tiles(image: Image.Image) -> None:
    """Refuse a TIFF of which a single tile would fill the memory, however small the image is.

    Raises:
        ImageError: a tile is larger; the message lacks the name of the image.
    """
    # Other formats have no tiles, and Pillow reads strips row by row.
    tags = getattr(image, "tag_v2", {})
    sides = [tags.get(tag, 0) for tag in _TILE_TAGS]
    if not all(isinstance(side, int) for side in sides) or sides[0] * sides[1] > max(
        _MAX_TILE_PIXELS, image.width * image.height
    ):
        raise ImageError(
            f"has tiles of {sides[0]} x {sides[1]} pixels, far too large; save it again"
        )


def _open(data: bytes) -> Image.Image:
    # Texts and profiles in a PNG change no pixel, and Pillow refuses long ones.
    return Image.open(io.BytesIO(without_texts(data)), formats=_FORMATS)


def _convert(image: Image.Image, channels: int) -> Image.Image:
    """Convert to RGB or L.

    Raises:
        ImageError: the pixels have another range; the message lacks the name of the image.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        # 16-bit grey: Pillow's own conversion would clip at 255. 65535 = 257 * 255.
        grey = (np.asarray(image).astype(np.uint32) + 128) // 257
        image = Image.fromarray(grey.astype(np.uint8))
    elif image.mode not in _MODES:
        raise ImageError(
            f"has pixels whose range is unknown (Pillow's mode {image.mode}); save it with 8 or 16 "
            "bits a channel"
        )
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
