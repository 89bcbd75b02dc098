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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from iaside_onnx.progress import escaped

__all__ = ["NOTICES", "Notices", "collected"]

_LOGGER = logging.getLogger("iaside_onnx")


class _Collector(threading.local):
    """Stands where a filter has the pattern of a warning's text."""

    texts: list[str] | None = None

    def match(self, text: str) -> bool:
        """Take the text if this thread decodes; the warning is then ignored."""
        if self.texts is None:
            return False
        self.texts.append(f"Pillow warns: {text}")
        return True


_COLLECTOR = _Collector()
# Not deprecations, which are for programmers.
_FILTERS: list[Any] = [
    ("ignore", _COLLECTOR, category, None, 0) for category in (UserWarning, RuntimeWarning)
]


@contextmanager
def collected(texts: list[str]) -> Iterator[None]:
    """Append the texts of warnings that this thread raises meanwhile, and show none of them."""
    # Tests and notebooks replace the list of filters, so it is looked at each time.
    filters = cast(list[Any], warnings.filters)
    if filters[: len(_FILTERS)] != _FILTERS:
        filters[:0] = _FILTERS
    before, _COLLECTOR.texts = _COLLECTOR.texts, texts
    try:
        yield
    finally:
        _COLLECTOR.texts = before


class Notices:
    """Warns of images by the logger ``iaside_onnx``; from any thread.

    An image is read in the look before the work and again in it, so no line is said twice.

    Args:
        most: number of lines; one more says that others are not shown.
    """

    def __init__(self, most: int = 20) -> None:
        self._most = most
        self._lines: set[str] = set()
        self._lock = threading.Lock()

    def say(self, where: str, texts: Sequence[str]) -> None:
        """Warn of one image.

        Args:
            where: name of the image.
            texts: of Pillow's warnings, or ours.
        """
        for text in texts:
            line = escaped(f"{where}: {' '.join(text.split())}")
            with self._lock:
                if line in self._lines or len(self._lines) > self._most:
                    continue
                self._lines.add(line)
                if len(self._lines) > self._most:
                    line = "further images have such warnings, which are not shown"
            _LOGGER.warning("%s", line)


NOTICES = Notices()
"""Those of this process."""
