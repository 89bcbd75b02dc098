"""Ctrl-C and SIGTERM end a command in order, whatever it does at that moment."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from iaside_onnx.stopping import end_at_once

__all__ = ["SignalHandling", "Stopped"]

_NUMBERS = (signal.SIGINT, signal.SIGTERM)
# Python handles a signal only when native code returns; after this time the process is ended.
_HANDLER_SECONDS = 3.0
_POLL_SECONDS = 0.05
_IMPORT_SYSTEM = "<frozen importlib._bootstrap>"


class Stopped(BaseException):
    """SIGTERM was received; as with `KeyboardInterrupt`, open files are closed on the way out."""


class SignalHandling:
    """Makes an exception of the first signal, once; later ones do not interrupt the cleaning up.

    Python runs signal handlers when native code has returned, which a hostile model may never do.
    So a thread reads the signals from a pipe, and ends the process if Python has not handled one
    within some seconds.

    Attributes:
        received: the signal that was made an exception; None if there was none.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._handled = threading.Event()
        self._put_off = False
        self._write_end = -1

    @contextmanager
    def active(self) -> Iterator[None]:
        """Handle signals until the context ends, and then as before."""
        read_end, self._write_end = os.pipe()
        if sys.platform != "win32":
            # Python asks for this everywhere else; Windows has it for pipes from Python 3.12 only.
            os.set_blocking(self._write_end, False)
        threading.Thread(target=self._watch, args=(read_end,), daemon=True).start()
        # A SIGINT that the parent process had ignored stays ignored.
        numbers = [n for n in _NUMBERS if signal.getsignal(n) is not signal.SIG_IGN]
        before = {number: signal.getsignal(number) for number in numbers}
        hook, wakeup = sys.unraisablehook, -1
        try:
            try:
                wakeup = signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
                sys.unraisablehook = self._unraisable
                for number in numbers:
                    signal.signal(number, self._handle)
                yield
            finally:
                # In case that no signal came. After this, or after a signal, none interrupts.
                self.received = self.received or 0
        finally:
            for number, old in before.items():
                signal.signal(number, old)
            self.received = self.received or None
            if self.received is None:
                # Else objects that were interrupted while they were made go only now.
                sys.unraisablehook = hook
            signal.set_wakeup_fd(wakeup)
            os.close(self._write_end)
            self._write_end = -1

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            return
        if _is_importing(frame):
            # The module would make another error of it, such as that a package is not installed.
            self._put_off = True
            return
        self._raise(number)

    def _raise(self, number: int) -> NoReturn:
        self.received = number
        self._handled.set()
        raise KeyboardInterrupt if number == signal.SIGINT else Stopped

    def _unraisable(self, ignored: sys.UnraisableHookArgs) -> None:
        """Raise the exception again if Python had to drop it, as in a finaliser.

        Other errors of finalisers are no news after a signal: the object may be half made.
        """
        if not self.received:
            sys.__unraisablehook__(ignored)
            return
        if self._write_end < 0 or not isinstance(ignored.exc_value, KeyboardInterrupt | Stopped):
            return
        number, self.received = self.received, None
        self._handled.clear()
        self._put_off = True
        os.write(self._write_end, bytes([number]))

    def _watch(self, read_end: int) -> None:
        """Send again what was put off, and end the process if Python handles no signal."""
        end: float | None = None
        while number := os.read(read_end, 1):
            if number[0] not in _NUMBERS:
                continue
            end = end or time.monotonic() + _HANDLER_SECONDS
            while not self._handled.wait(_POLL_SECONDS):
                if time.monotonic() > end:
                    end_at_once(number[0])
                if self._put_off:
                    self._put_off = False
                    # This writes to the pipe, too.
                    _send_to_main(number[0])
                    break
            else:
                if time.monotonic() > end:
                    # Another signal, long after the first one: the cleaning up does not end.
                    end_at_once(number[0])
        os.close(read_end)


def _send_to_main(number: int) -> None:
    """Have the main thread handle a signal, also if it waits in a system call."""
    if sys.platform == "win32":
        _thread.interrupt_main(number)
    else:
        signal.pthread_kill(threading.main_thread().ident or 0, number)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT_SYSTEM:
            return True
        frame = frame.f_back
    return False
