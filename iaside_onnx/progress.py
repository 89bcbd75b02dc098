"""How a run tells what it does."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

__all__ = ["BarProgress", "LogProgress", "Progress", "escaped", "listener"]


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


class BarProgress(LogProgress):
    """A bar in a notebook or on a terminal, which goes when it is done; words go to the logger."""

    def __init__(self) -> None:
        super().__init__()
        self._bar: Any = None

    def say(self, line: str) -> None:
        """Log as information, above the bar."""
        with self._beside_bar():
            super().say(line)

    def warn(self, line: str) -> None:
        """Log as a warning, above the bar."""
        with self._beside_bar():
            super().warn(line)

    def begin(self, images: int, finished: int, evaluations: int) -> None:
        """Open the bar."""
        super().begin(images, finished, evaluations)
        with warnings.catch_warnings():
            # In a notebook without ipywidgets tqdm warns, and draws the bar as text.
            warnings.simplefilter("ignore")
            from tqdm.auto import tqdm
        with suppress(OSError):
            self._bar = tqdm(
                total=images, initial=finished, unit=" images", leave=False, dynamic_ncols=True
            )

    def advance(self, images: int) -> None:
        """Move the bar."""
        # What stderr does not take is not worth the run.
        with suppress(OSError):
            if self._bar is not None:
                self._bar.update(images)

    def end(self) -> None:
        """Remove the bar."""
        with suppress(OSError):
            if self._bar is not None:
                self._bar.close()
        self._bar = None

    @contextmanager
    def _beside_bar(self) -> Iterator[None]:
        if self._bar is None:
            yield
        else:
            with self._bar.external_write_mode():
                yield


def listener(progress: Progress | bool | None) -> Progress:
    """What listens to a run: what was given, or for True a bar if somebody may be watching it.

    Files and pipes get no bar. Without one, words go to the logger ``iaside_onnx`` alone.
    """
    if progress is not None and not isinstance(progress, bool):
        return progress
    return BarProgress() if progress and _is_watched() else LogProgress()


def _is_watched() -> bool:
    """Whether this is the kernel of a notebook, or stderr a terminal."""
    return "ipykernel.zmqshell" in sys.modules or (sys.stderr is not None and sys.stderr.isatty())
