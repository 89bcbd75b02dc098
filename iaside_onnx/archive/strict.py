"""JSON in files that may come from strangers: one parser, with bounds."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec

__all__ = ["MAX_TEXT", "json_text", "parse_json"]

MAX_TEXT = 1 << 23
"""Bytes of a text attribute at most."""

# Each merging of merged archives adds three levels to the options.
_MAX_DEPTH = 100


def parse_json(text: str | bytes, kind: Any = Any) -> Any:
    """Parse JSON strictly: no NaN, no number that becomes infinite, limited length and depth.

    Args:
        text: what to parse.
        kind: type of the value, as `msgspec.json.decode` takes it.

    Raises:
        ValueError: if it is anything else; ``msgspec.DecodeError`` is one.
    """
    data = text.encode() if isinstance(text, str) else text
    if len(data) > MAX_TEXT:
        raise ValueError(f"longer than {MAX_TEXT} bytes")
    try:
        value = msgspec.json.decode(data, type=kind)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    _check(value)
    return value


def json_text(value: Any) -> str:
    """JSON that `parse_json` reads back.

    Raises:
        ValueError: if it cannot be read back.
    """
    text = json.dumps(value, allow_nan=False)
    parse_json(text)
    return text


def _check(value: Any) -> None:
    """Walk through a value level by level, without recursion."""
    level = [value]
    for _ in range(_MAX_DEPTH):
        inner: list[Any] = []
        for one in level:
            if isinstance(one, float) and not math.isfinite(one):
                raise ValueError("a number is infinite")
            if isinstance(one, dict):
                inner += one.values()
            elif isinstance(one, list | tuple):
                inner += one
        if not inner:
            return
        level = inner
    raise ValueError(f"nested more than {_MAX_DEPTH} deep")
