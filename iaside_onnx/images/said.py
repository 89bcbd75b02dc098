"""What decoding has to say of single images: collected thread by thread, said once by the logger.

Pillow says some things with `warnings.warn`: without the name of the file, as a warning of Python,
with the path of its own source. `warnings.catch_warnings` is not safe with threads, and to replace
`warnings.showwarning` would change what other code shows. So a filter of our own is put before the
others. It matches in threads that decode at that moment, and takes the text.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

__all__ = ["collected", "say"]

_LOGGER = logging.getLogger("iaside_onnx")
_MOST = 20


class _Collector(threading.local):
    """Stands where a filter has the pattern of a warning's text."""

    texts: list[str] | None = None

    def match(self, text: str) -> bool:
        """Take the text if this thread decodes; the warning is then ignored."""
        if self.texts is None:
            return False
        self.texts.append(text)
        return True


_COLLECTOR = _Collector()
_FILTER: Any = ("ignore", _COLLECTOR, Warning, None, 0)


@contextmanager
def collected(texts: list[str]) -> Iterator[None]:
    """Append the texts of warnings that this thread raises meanwhile, and show none of them."""
    # Tests and notebooks replace the list of filters, so it is looked at each time.
    filters = cast(list[Any], warnings.filters)
    if not filters or filters[0] is not _FILTER:
        filters.insert(0, _FILTER)
    before, _COLLECTOR.texts = _COLLECTOR.texts, texts
    try:
        yield
    finally:
        _COLLECTOR.texts = before


class _Said:
    """What this process has said: an image is read in the look before the work and again in it."""

    def __init__(self) -> None:
        self._lines: set[str] = set()
        self._lock = threading.Lock()

    def is_new(self, line: str) -> bool:
        with self._lock:
            if line in self._lines or len(self._lines) > _MOST:
                return False
            self._lines.add(line)
            return True

    def is_full(self) -> bool:
        return len(self._lines) > _MOST


_SAID = _Said()


def say(where: str, texts: list[str]) -> None:
    """Warn once of each text about an image; after 20 lines a last one says that more follow.

    Args:
        where: name of the image.
        texts: of Pillow's warnings, or ours.
    """
    for text in texts:
        line = _printable(f"{where}: {' '.join(text.split())}")
        if _SAID.is_new(line):
            if _SAID.is_full():
                line = "further images have such warnings, which are not shown"
            _LOGGER.warning("%s", line)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
