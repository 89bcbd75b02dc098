"""Reading small files that may come from strangers: bounded, and with one clear error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from iaside_onnx.errors import IasideError

__all__ = ["MAX_TEXT_BYTES", "read_bytes", "read_json"]

MAX_TEXT_BYTES = 256 * 2**20
"""Bound on a JSON, YAML or CSV file, in bytes: room for the labels of millions of images."""


def read_bytes(path: Path, limit: int, where: str, error: type[IasideError]) -> bytes:
    """The whole file, which must be a regular one of at most ``limit`` bytes.

    Raises:
        IasideError: (as ``error``) The file is missing, unreadable, no regular file, or too large.
    """
    try:
        # A pipe or a device that bears the name of an image would block, or never end.
        if not path.is_file():
            found = "is not a file" if path.exists() else "does not exist"
            raise error(f"{where} {found}; check the path.")
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except error:
        raise
    except (OSError, ValueError) as failure:  # ValueError: a null byte in the path
        reason = getattr(failure, "strerror", None) or failure
        raise error(f"{where} cannot be read ({reason}); check the path and permissions.") from None
    if len(data) > limit:
        raise error(f"{where} is larger than the limit of {limit} bytes; use a smaller file.")
    return data


def read_json(path: Path, where: str, error: type[IasideError]) -> Any:
    """The parsed content of a JSON file, in which no object may name a key twice.

    Raises:
        IasideError: (as ``error``) The file cannot be read or is not valid JSON.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key, value in pairs:
            # Python's parser would keep the last one in silence.
            if key in mapping:
                raise error(f"{where} names {key!r} more than once; keep one of them.")
            mapping[key] = value
        return mapping

    data = read_bytes(path, MAX_TEXT_BYTES, where, error)
    try:
        return json.loads(data.decode("utf-8-sig"), object_pairs_hook=unique)
    except error:
        raise
    except (
        ValueError,
        RecursionError,
    ) as failure:  # ValueError: bad JSON, bad UTF-8, huge integers
        raise error(f"{where} is not valid JSON ({failure}); mend or remove it.") from None
