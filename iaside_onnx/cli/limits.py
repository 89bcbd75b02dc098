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
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from iaside_onnx.cli.console import fail
from iaside_onnx.cli.signals import Stopped
from iaside_onnx.errors import OptionError
from iaside_onnx.stopping import KEPT, SUPERVISOR

__all__ = ["join_supervisor", "limited"]

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
# Time for a supervised process to end by itself: its own limit for native code is three seconds.
_GRACE_SECONDS = 5.0
_LONGEST_SECONDS = 1e8
_POLL_SECONDS = 0.2
_PR_SET_PDEATHSIG = 1  # from Linux's <sys/prctl.h>
_FIRST_CRASH_STATUS = 0xC0000000  # Windows: an exit status from here on is an exception's code
_STOPPED = {128 + signal.SIGINT: KeyboardInterrupt, 128 + signal.SIGTERM: Stopped}


class _Supervision:
    """Whether another process supervises this one."""

    active = False


def _parse_bytes(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> int | None:
    """``500M``, ``4G``: powers of 1024."""
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]{1,12})([KMGT]?)(i?B)?", value, re.ASCII | re.IGNORECASE)
    if match is None or not int(match[1]):
        raise click.BadParameter(f"{value!r} is not a size, such as 500M or 4G")
    size = int(match[1]) * _UNITS[match[2].upper()]
    if size > sys.maxsize:
        raise click.BadParameter(f"{value!r} is more than any memory; give a size such as 4G")
    return size


def limited(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options ``--timeout`` and ``--memory-limit`` to a command."""

    @functools.wraps(command)
    def run(*args: Any, timeout: float | None, memory_limit: int | None, **words: Any) -> Any:
        if timeout is not None and not 0 < timeout <= _LONGEST_SECONDS:
            raise OptionError(
                f"the timeout must be above 0 and up to {_LONGEST_SECONDS:g} seconds, found "
                f"{timeout:g}"
            )
        if _Supervision.active:
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


def join_supervisor() -> None:
    """Tie this process to the one that supervises it, if any; ends it if that one has ended.

    Without its supervisor it would have no time limit, and nobody would be told of its end.
    """
    marker = os.environ.pop(SUPERVISOR, None)
    _Supervision.active = marker is not None
    if marker is None or sys.platform == "win32":
        # On Windows a virtual environment starts a launcher process between the two.
        return
    if sys.platform == "linux":
        import ctypes

        # From here on the kernel kills this process when its parent ends; only Linux can do that.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if marker != str(os.getppid()):
        os._exit(1)


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
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        if most != resource.RLIM_INFINITY:
            # One that the shell has set, as `ulimit -d` does, and that cannot be raised.
            limit = min(limit, most)
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
    with _background_output():
        child = subprocess.Popen(  # noqa: S603  # our own module, in our own interpreter
            words,
            env={**os.environ, SUPERVISOR: str(os.getpid())},
            # On a terminal, Ctrl-C then reaches this process only, which forwards it, and what the
            # child has started can be killed. Windows has no such groups: Ctrl-C reaches both.
            process_group=None if sys.platform == "win32" else 0,
        )
    try:
        with _pausing(child):
            status = _wait(child, math.inf if timeout is None else timeout)
        if status is None:
            # What it has locked or begun to write is cleared up.
            child.terminate()
            # It may have been done already.
            status = 0 if _wait(child, _GRACE_SECONDS) == 0 else None
    except (KeyboardInterrupt, Stopped) as stop:
        if sys.platform != "win32":
            child.send_signal(signal.SIGTERM if isinstance(stop, Stopped) else signal.SIGINT)
        elif isinstance(stop, Stopped):
            child.terminate()
        _wait(child, _GRACE_SECONDS)
        raise
    finally:
        _kill(child)
    return _explain(status, timeout)


def _explain(status: int | None, timeout: float | None) -> int:
    """Say how the supervised process ended, if it cannot have said so; the exit status to give."""
    if status is None:
        fail(f"stopped after {timeout:g} seconds (--timeout); {KEPT}")
        return 1
    if status in _STOPPED:
        # Somebody stopped the supervised process, which leaves it to this one to say so.
        raise _STOPPED[status]
    if 0 <= status < _FIRST_CRASH_STATUS:
        return status
    fail(_cause_of_death(status))
    return 1


@contextmanager
def _background_output() -> Iterator[None]:
    """Let processes that are started write to the terminal.

    A terminal on which `stty tostop` was said stops a process of another group that writes to it,
    unless that process ignores the signal. What is ignored is inherited.
    """
    if sys.platform == "win32":
        yield
        return
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTTOU, before)


@contextmanager
def _pausing(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Have Ctrl-Z stop the child, too, and let it go on with this process."""

    def pause(*_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGCONT)

    if sys.platform == "win32" or signal.getsignal(signal.SIGTSTP) is signal.SIG_IGN:
        yield
        return
    before = signal.signal(signal.SIGTSTP, pause)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, before)


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


def _wait(child: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Its exit status; None if its time is up."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(subprocess.TimeoutExpired):
            return child.wait(min(_POLL_SECONDS, max(end - time.monotonic(), 0)))
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
