"""Runs that are interrupted on purpose."""

from __future__ import annotations

from iaside_onnx.runs import LogProgress

__all__ = ["Stopping"]


class Stopping(LogProgress):
    """Presses Ctrl-C after so many images."""

    def __init__(self, images: int) -> None:
        super().__init__()
        self._left = images

    def advance(self, images: int) -> None:
        self._left -= images
        if self._left < 0:
            raise KeyboardInterrupt
