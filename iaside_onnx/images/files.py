"""Read small, untrusted files: bounded in size, one error that names the file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from iaside_onnx.errors import IasideError

__all__ = ["MAX_TEXT_BYTES", "read_bytes", "read_json"]

MAX_TEXT_BYTES = 256 * 2**20
"""Largest JSON, YAML or CSV file, in bytes: enough for the labels of millions of images."""


def read_bytes(path: Path, limit: int, where: str, error: type[IasideError]) -> bytes:
    """Read a whole regular file of at most ``limit`` bytes.

    Args:
        path: the file.
        limit: largest size, in bytes.
        where: name of the file in an error.
        error: class of the error.

    Raises:
        IasideError: (as ``error``) the file is missing, unreadable, not a regular file, or too
            large.
    """
    try:
        # Reading a pipe or a device could block or never end.
        if not path.is_file():
            found = "is not a file" if path.exists() else "does not exist"
            raise error(f"{where} {found}; check the path")
        with path.open("rb") as file:
            # The second bound is for a file that grows meanwhile.
            size = os.fstat(file.fileno()).st_size
            data = b"" if size > limit else file.read(limit + 1)
    except error:
        raise
    except (OSError, ValueError) as failure:  # ValueError: a null byte in the path
        reason = getattr(failure, "strerror", None) or failure
        raise error(f"{where} cannot be read ({reason}); check the path and permissions") from None
    if max(size, len(data)) > limit:
        raise error(f"{where} is larger than the limit of {limit} bytes; use a smaller file")
    return data


def read_json(path: Path, where: str, error: type[IasideError]) -> Any:
    """Parse a JSON file in which no object has a key twice.

    Raises:
        IasideError: (as ``error``) the file cannot be read or is not valid JSON.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key, value in pairs:
            # Python's parser would silently keep the last one.
            if key in mapping:
                raise error(f"{where} names {key!r} more than once; keep one of them")
            mapping[key] = value
        return mapping

    data = read_bytes(path, MAX_TEXT_BYTES, where, error)
    try:
        return json.loads(data.decode("utf-8-sig"), object_pairs_hook=unique)
    except error:
        raise
    # ValueError: bad JSON, bad UTF-8, huge integers.
    except (ValueError, RecursionError) as failure:
        raise error(f"{where} is not valid JSON ({failure}); fix or remove it") from None
