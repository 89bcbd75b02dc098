"""Hard limits on time and memory: the command runs in a process of its own, which can be stopped.

A hostile or damaged file can make ONNX Runtime or HDF5 loop for ever or crash, and no code in the
same process can stop that.
"""

from __future__ import annotations

import functools
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click

from iaside_onnx.cli.console import fail
from iaside_onnx.errors import OptionError

__all__ = ["INTERRUPTED", "KEPT", "STOPPED", "Stopped", "limited", "stopping_in_order"]

INTERRUPTED, STOPPED = 128 + signal.SIGINT, 128 + signal.SIGTERM
"""Exit status after Ctrl-C and after SIGTERM, by convention."""

KEPT = (
    "what is finished is kept: the same command again resumes a decomposition, and starts anything "
    "else from the beginning"
)
"""End of the message when a command is stopped."""

# Environment variable that marks the supervised process; its value is the supervisor's process id.
_CHILD = "IASIDE_LIMITED"
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
# Python handles a signal only when native code returns; after this time the process is ended.
_HANDLER_SECONDS = 3.0
# Time for a supervised process to end by itself after a signal.
_GRACE_SECONDS = 5.0
_LONGEST_SECONDS = 1e8
_POLL_SECONDS = 0.2
# Set when Python has handled a signal.
_HANDLED = threading.Event()
_PR_SET_PDEATHSIG = 1  # from Linux's <sys/prctl.h>
_FIRST_CRASH_STATUS = 0xC0000000  # Windows: an exit status from here on is an exception's code


class Stopped(BaseException):
    """SIGTERM was received; as with `KeyboardInterrupt`, open files are closed on the way out."""


@contextmanager
def stopping_in_order() -> Iterator[None]:
    """Let SIGTERM end this process as Ctrl-C does, even if native code does not return.

    Python runs signal handlers when native code has returned, which a hostile model may never do.
    So a thread reads the signals from a pipe, and ends the process if Python has not handled one
    within some seconds.
    """

    def stop(number: int, _: FrameType | None) -> NoReturn:
        _HANDLED.set()
        raise KeyboardInterrupt if number == signal.SIGINT else Stopped

    read_end, write_end = os.pipe()
    if sys.platform != "win32":
        # Python asks for this everywhere else; Windows has it for pipes from Python 3.12 on only.
        os.set_blocking(write_end, False)
    previous = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    threading.Thread(target=_end_if_unhandled, args=(read_end,), daemon=True).start()
    try:
        with _handling(stop):
            yield
    finally:
        signal.set_wakeup_fd(previous)
        os.close(write_end)


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Handle SIGTERM and SIGINT; a SIGINT that the parent process had ignored stays ignored."""
    _HANDLED.clear()
    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        numbers.append(signal.SIGINT)
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _end_if_unhandled(read_end: int) -> None:
    """End the process if Python does not handle a signal; returns when the pipe is closed."""
    while number := os.read(read_end, 1):
        if number[0] not in (signal.SIGINT, signal.SIGTERM) or _HANDLED.wait(_HANDLER_SECONDS):
            continue
        fail(f"stopped; {KEPT}")
        os._exit(128 + number[0])
    os.close(read_end)


def _parse_bytes(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> int | None:
    """``500M``, ``4G``: powers of 1024."""
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]{1,12})([KMGT]?)(i?B)?", value, re.ASCII | re.IGNORECASE)
    if match is None or not int(match[1]):
        raise click.BadParameter(f"{value!r} is not a size, such as 500M or 4G")
    return int(match[1]) * _UNITS[match[2].upper()]


def limited(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options ``--timeout`` and ``--memory-limit`` to a command."""

    @functools.wraps(command)
    def run(*args: Any, timeout: float | None, memory_limit: int | None, **words: Any) -> Any:
        if timeout is not None and not 0 < timeout <= _LONGEST_SECONDS:
            raise OptionError(
                f"the timeout must be above 0 and up to {_LONGEST_SECONDS:g} seconds, found "
                f"{timeout:g}"
            )
        if _is_supervised():
            _end_with_parent()
            if memory_limit is not None:
                _limit_memory(memory_limit)
        elif timeout is not None or memory_limit is not None:
            return _supervise(timeout)
        return command(*args, **words)

    add_timeout = click.option(
        "--timeout", type=float, metavar="S",
        help="Stop after S seconds, even if the model or the file never ends.",
    )  # fmt: skip
    add_memory = click.option(
        "--memory-limit", callback=_parse_bytes, metavar="SIZE",
        help="Fail rather than take more memory of the host than SIZE, such as 4G; on Linux only.",
    )  # fmt: skip
    return add_timeout(add_memory(run))


def _is_supervised() -> bool:
    """Whether `_supervise` has started this process."""
    marker = os.environ.pop(_CHILD, None)
    if marker is None:
        return False
    # On Windows a virtual environment starts a launcher process between the two.
    return sys.platform == "win32" or marker == str(os.getppid())


def _end_with_parent() -> None:
    """Have the kernel kill this process when its parent ends; only Linux can do that."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _limit_memory(limit: int) -> None:
    """Make allocations beyond the limit fail.

    Args:
        limit: bytes of private memory.

    Raises:
        OptionError: if the process uses as much already, or the system has no such limit.
    """
    if sys.platform == "linux":
        import resource

        used = _private_bytes()
        if limit <= used:
            raise OptionError(
                f"the memory limit of {limit >> 20} MiB is below the {used >> 20} MiB that iaside "
                "uses before it reads anything: give more"
            )
        # Memory mapped from files, such as arrays of images, does not count: it can be read again.
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    else:
        raise OptionError(
            "--memory-limit is not available on this system: only Linux limits all private memory "
            "of a process; leave the option out"
        )


def _private_bytes() -> int:
    """The bytes that count for RLIMIT_DATA; 0 if the kernel does not tell."""
    try:
        found = re.search(r"VmData:\s+([0-9]+) kB", Path("/proc/self/status").read_text())
    except OSError:
        return 0
    return int(found[1]) << 10 if found else 0


def _supervise(timeout: float | None) -> int:
    """Run this command in a process that is stopped when its time is up; its exit status."""
    # -P: modules are not imported from the working directory, which may be a stranger's.
    words = [sys.executable, "-P", "-m", "iaside_onnx", *sys.argv[1:]]
    child = subprocess.Popen(  # noqa: S603  # our own module, in our own interpreter
        words,
        env={**os.environ, _CHILD: str(os.getpid())},
        # On a terminal, Ctrl-C then reaches this process only, which forwards it. Windows has no
        # such groups: there, Ctrl-C reaches both.
        process_group=None if sys.platform == "win32" else 0,
    )
    received: list[int] = []

    def forward(number: int, _: FrameType | None) -> None:
        _HANDLED.set()
        received.append(number)
        if sys.platform != "win32":
            child.send_signal(number)
        elif number != signal.SIGINT:
            child.terminate()

    with _handling(forward):
        try:
            status = _wait(child, timeout, received)
        finally:
            _kill(child)
    if received:
        if status is None:
            fail(f"stopped; {KEPT}")
        return 128 + received[0]
    if status is None:
        fail(f"stopped after {timeout:g} seconds (--timeout); {KEPT}")
        return 1
    if 0 <= status < _FIRST_CRASH_STATUS:
        return status
    fail(_cause_of_death(status))
    return 1


def _kill(child: subprocess.Popen[bytes]) -> None:
    """End the process and what it has started, such as a reader of archives.

    On Windows what it has started is left to its own time limit.
    """
    if sys.platform == "win32":
        child.kill()
    else:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _wait(child: subprocess.Popen[bytes], timeout: float | None, received: list[int]) -> int | None:
    """Its exit status; None if its time is up, or it does not end after a signal."""
    end = math.inf if timeout is None else time.monotonic() + timeout
    while time.monotonic() < end:
        with suppress(subprocess.TimeoutExpired):
            return child.wait(min(_POLL_SECONDS, max(end - time.monotonic(), 0)))
        if received:
            with suppress(subprocess.TimeoutExpired):
                return child.wait(_GRACE_SECONDS)
            return None
    return None


def _cause_of_death(status: int) -> str:
    """The message for a process that a signal, or on Windows an exception, has ended."""
    name = signal.Signals(-status).name if status < 0 else f"{status:#x}"
    if name == "SIGKILL":
        return f"killed, as the system does when memory runs out; {KEPT}"
    return (
        f"a library crashed on its input ({name}): the model or a file is damaged or hostile, or "
        f"the memory limit was reached where a library cannot report it; {KEPT}"
    )
