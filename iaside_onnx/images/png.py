"""PNG files with long texts: the texts are taken out before the file is decoded."""

from __future__ import annotations

import zlib

__all__ = ["without_texts"]

_MAGIC = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
# Pillow refuses a compressed text that is longer than 2^20 bytes, and 2^26 bytes of texts in all.
_MAX_TEXT = 2**20
_MAX_TEXTS = 2**25


def without_texts(data: bytes) -> bytes:
    """Take out texts and colour profiles that are too long to be unpacked; no pixel changes.

    The file is copied only if there are such. Nothing else is checked: what is damaged stays so.
    A short text may hold the orientation of the image, so it stays.

    Args:
        data: the bytes of a file of any format.

    Returns:
        The bytes of the same image; ``data`` itself where nothing is taken out.
    """
    if not data.startswith(_MAGIC):
        return data
    kept: list[tuple[int, int]] = []
    position = len(_MAGIC)
    total = 0
    begin = 0
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        kind, end = data[position + 4 : position + 8], position + 12 + length
        if end > len(data):
            break
        if kind in _TEXTS:
            size = _unpacked(kind, data[position + 8 : end - 4])
            if size >= _MAX_TEXT or total + size > _MAX_TEXTS:
                kept.append((begin, position))
                begin = end
            else:
                total += size
        position = end
    if begin == 0:
        return data
    return b"".join([*(data[a:b] for a, b in kept), data[begin:]])


def _unpacked(kind: bytes, chunk: bytes) -> int:
    """Length of a text or profile; if it is compressed, unpacked up to the limit."""
    _, _, rest = chunk.partition(b"\0")
    if kind == b"iTXt":
        # Two bytes say whether and how it is compressed; a language and a translation follow.
        flag, fields = rest[:1], rest[2:].split(b"\0", 2)
        if flag != b"\1" or len(fields) < 3:
            return len(chunk)
        packed = fields[2]
    elif kind == b"tEXt":
        return len(chunk)
    else:
        packed = rest[1:]
    try:
        return max(len(chunk), len(zlib.decompressobj().decompress(packed, _MAX_TEXT)))
    except zlib.error:
        return len(chunk)
