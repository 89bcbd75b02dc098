"""How a command ends when it is told to stop: with one sentence, and the exit status of a shell.

The command imports this before anything else. So it imports nothing that takes time.
"""

from __future__ import annotations

import atexit
import os
import signal
from contextlib import suppress
from types import FrameType

__all__ = ["KEPT", "SUPERVISOR", "end_at_once", "end_at_once_on_signals", "what_to_say"]

KEPT = (
    "what is finished is kept: the same command again resumes a decomposition, and starts anything "
    "else from the beginning"
)
"""End of the message when a command is stopped."""

SUPERVISOR = "_IASIDE_SUPERVISOR"
"""Environment variable of a process that another one supervises: the process id of that one."""


class _Said:
    """Whether nothing is left to say; a supervised process leaves it to its supervisor."""

    done = SUPERVISOR in os.environ


def what_to_say(number: int) -> str | None:
    """What to say of a signal that ended the command; None if that was said before."""
    if _Said.done:
        return None
    _Said.done = True
    return f"{'interrupted' if number == signal.SIGINT else 'stopped'}; {KEPT}"


def end_at_once(number: int, _: FrameType | None = None) -> None:
    """Say it, and end the process; nothing is cleaned up."""
    message = what_to_say(number)
    if message is not None:
        # Past `sys.stderr`, which the signal may have interrupted.
        with suppress(OSError):
            os.write(2, f"Error: {message}\n".encode())
    os._exit(128 + number)


def end_at_once_on_signals() -> None:
    """Have Ctrl-C and SIGTERM end this process, while it has nothing that must be cleaned up.

    An exception would not do: raised while modules are imported, it comes out as another one, such
    as that ONNX Runtime is not installed. A Ctrl-C that the parent process ignores stays ignored.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end_at_once)
    atexit.register(_ignore_signals)


def _ignore_signals() -> None:
    """The result is printed and no thread is left: what still happens takes milliseconds."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
