"""How a run tells what it does."""

from __future__ import annotations

import logging
from typing import Protocol

__all__ = ["LogProgress", "Progress", "escaped"]


def escaped(text: str) -> str:
    """Text on one line; control characters, which names from outside may hold, as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class Progress(Protocol):
    """Listens to a run."""

    def say(self, line: str) -> None:
        """A decision that the run made, for people."""

    def warn(self, line: str) -> None:
        """Something that makes the result doubtful."""

    def begin(self, images: int, finished: int, evaluations: int) -> None:
        """Images in all, those finished by earlier runs, and evaluations an image."""

    def advance(self, images: int) -> None:
        """So many more images are finished."""

    def end(self) -> None:
        """No more images come, whatever the reason."""


class LogProgress:
    """Writes to the logger ``iaside_onnx``, which shows warnings unless told otherwise."""

    def __init__(self) -> None:
        self._log = logging.getLogger("iaside_onnx")

    def say(self, line: str) -> None:
        """Log as information."""
        self._log.info(line)

    def warn(self, line: str) -> None:
        """Log as a warning."""
        self._log.warning(line)

    def begin(self, images: int, finished: int, evaluations: int) -> None:
        """Log the size of the task."""
        self._log.info("%d images, %d finished, %d evaluations each", images, finished, evaluations)

    def advance(self, images: int) -> None:
        """Count in silence."""

    def end(self) -> None:
        """Nothing to close."""
