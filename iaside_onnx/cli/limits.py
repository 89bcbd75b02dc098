"""Hard limits on time and memory: the command runs in a process of its own, which can be stopped.

Files from strangers can keep ONNX Runtime or HDF5 busy for ever, or crash them, and nothing that
runs in their process can help that.
"""

from __future__ import annotations

import ctypes
import functools
import math
import os
import re
import resource
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
    "what is finished is kept: the same command again resumes a decomposition, and begins "
    "anything else anew"
)
"""What to say to whoever is stopped."""

# Tells the process that it is the one to be limited, by the number of the one that started it.
_CHILD = "IASIDE_LIMITED"
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
# How long native code may take to come back after a signal, and a process to end by itself.
_PATIENCE_SECONDS = 3.0
_GRACE_SECONDS = 5.0
_LONGEST_SECONDS = 1e8
_POLL_SECONDS = 0.2
# Set when Python has heard of a signal.
_HEARD = threading.Event()
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux's prctl


class Stopped(BaseException):
    """SIGTERM was heard; as with `KeyboardInterrupt`, whatever is open is closed on the way out."""


@contextmanager
def stopping_in_order() -> Iterator[None]:
    """Let SIGTERM end this process as Ctrl-C does, and let neither wait for native code for ever.

    Python hears of a signal when native code has returned, which a hostile model never does: a
    thread that hears of it at once ends the process where Python does not within some seconds.
    """

    def stop(number: int, _: FrameType | None) -> NoReturn:
        _HEARD.set()
        raise KeyboardInterrupt if number == signal.SIGINT else Stopped

    ear, mouth = os.pipe()
    os.set_blocking(mouth, False)
    wakeup = signal.set_wakeup_fd(mouth, warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(ear,), daemon=True).start()
    try:
        with _handling(stop):
            yield
    finally:
        signal.set_wakeup_fd(wakeup)
        os.close(mouth)


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Have SIGINT and SIGTERM handled so; whoever starts a process may have it ignore Ctrl-C."""
    _HEARD.clear()
    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        numbers.append(signal.SIGINT)
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _listen(ear: int) -> None:
    """Wait for a signal that stops; ends when the other end of the pipe is closed."""
    while number := os.read(ear, 1):
        if number[0] not in (signal.SIGINT, signal.SIGTERM) or _HEARD.wait(_PATIENCE_SECONDS):
            continue
        fail(f"stopped; {KEPT}")
        os._exit(128 + number[0])
    os.close(ear)


def _parse_bytes(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> int | None:
    """``500M``, ``4G``: powers of 1024."""
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]{1,12})([KMGT]?)(i?B)?", value, re.ASCII | re.IGNORECASE)
    if match is None or not int(match[1]):
        raise click.BadParameter(f"{value!r} is no size, such as 500M or 4G")
    return int(match[1]) * _UNITS[match[2].upper()]


def limited(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options ``--timeout`` and ``--memory-limit``."""

    @functools.wraps(command)
    def run(*args: Any, timeout: float | None, memory_limit: int | None, **words: Any) -> Any:
        if timeout is not None and not 0 < timeout <= _LONGEST_SECONDS:
            raise OptionError(
                f"the timeout must be above 0 and up to {_LONGEST_SECONDS:g} seconds, found "
                f"{timeout:g}"
            )
        if os.environ.pop(_CHILD, "") == str(os.getppid()):
            _limit_memory(memory_limit)
        elif timeout is not None or memory_limit is not None:
            return _supervise(timeout)
        return command(*args, **words)

    add_timeout = click.option(
        "--timeout", type=float, metavar="S",
        help="Stop after S seconds, whatever the model or the file does.",
    )  # fmt: skip
    add_memory = click.option(
        "--memory-limit", callback=_parse_bytes, metavar="SIZE",
        help="Fail rather than take more memory of the host than SIZE, such as 4G.",
    )  # fmt: skip
    return add_timeout(add_memory(run))


def _limit_memory(limit: int | None) -> None:
    """Make allocations beyond the limit fail, and end with the process that started this one.

    Raises:
        OptionError: if as much is taken already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if limit is None:
        return
    taken = _private_bytes()
    if limit <= taken:
        raise OptionError(
            f"the memory limit of {limit >> 20} MiB is below the {taken >> 20} MiB that iaside "
            "takes before it reads anything: give more"
        )
    # What is mapped from files, such as arrays of images, is not counted: it takes no memory that
    # cannot be had back.
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _private_bytes() -> int:
    """What the kernel counts for that limit; 0 where it does not say."""
    try:
        found = re.search(r"VmData:\s+([0-9]+) kB", Path("/proc/self/status").read_text())
    except OSError:
        return 0
    return int(found[1]) << 10 if found else 0


def _supervise(timeout: float | None) -> int:
    """Run this very command in a process that is stopped when its time is up; its exit status."""
    # -P: modules are not looked for in the working directory, which may be a stranger's.
    words = [sys.executable, "-P", "-m", "iaside_onnx", *sys.argv[1:]]
    child = subprocess.Popen(  # noqa: S603  # ourselves
        words,
        env={**os.environ, _CHILD: str(os.getpid())},
        # A terminal's Ctrl-C goes to this process alone, which hands it on.
        process_group=0,
    )
    asked: list[int] = []

    def hand_on(number: int, _: FrameType | None) -> None:
        _HEARD.set()
        asked.append(number)
        child.send_signal(number)

    with _handling(hand_on):
        try:
            status = _wait(child, timeout, asked)
        finally:
            # With all that it has started, such as a reader of archives.
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    if asked:
        if status is None:
            fail(f"stopped; {KEPT}")
        return 128 + asked[0]
    if status is None:
        fail(f"stopped after {timeout:g} seconds (--timeout); {KEPT}")
        return 1
    if status >= 0:
        return status
    fail(_death(signal.Signals(-status)))
    return 1


def _wait(child: subprocess.Popen[bytes], timeout: float | None, asked: list[int]) -> int | None:
    """Its exit status; None if its time is up, or it goes on after it was asked to stop."""
    ending = math.inf if timeout is None else time.monotonic() + timeout
    while time.monotonic() < ending:
        with suppress(subprocess.TimeoutExpired):
            return child.wait(min(_POLL_SECONDS, max(ending - time.monotonic(), 0)))
        if asked:
            with suppress(subprocess.TimeoutExpired):
                return child.wait(_GRACE_SECONDS)
            return None
    return None


def _death(number: signal.Signals) -> str:
    """What to say of a process that a signal has ended."""
    if number == signal.SIGKILL:
        return f"killed, as the system does when memory runs out; {KEPT}"
    return (
        f"a library failed on what it was given, and took the process along ({number.name}): the "
        "model or a file is damaged or made to do so, or the memory limit was reached where it "
        f"cannot be told; {KEPT}"
    )
