"""Files that are there whole or not at all, and a lock that dies with its process."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from iaside_onnx.errors import ArchiveError, RunConflictError
from iaside_onnx.hdf5 import NO_LOCKS

__all__ = ["OWNER", "exclusive_lock", "finished_file", "sync_folder", "write_failure"]

OWNER = "lock.owner"
"""The file that stands in for a lock where there are none."""


def write_failure(path: Path, error: OSError) -> ArchiveError:
    """The error to raise when a file cannot be written: names the cause and the way on."""
    cause = os.strerror(error.errno) if error.errno else str(error)
    return ArchiveError(
        f"{path}: cannot be written: {cause}; what is finished is kept: mend this and run the "
        "same command again"
    )


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def finished_file(path: Path, folder: Path | None = None) -> Iterator[Path]:
    """Give a temporary path; on success sync it and rename it to ``path``.

    On any failure, Ctrl-C included, the temporary file is gone and ``path`` is untouched.

    Args:
        path: the file to make.
        folder: where the temporary file is, on the same file system; by default beside ``path``.

    Raises:
        ArchiveError: if the file system refuses.
    """
    # Named before it is made, so that Ctrl-C at any moment finds it.
    temporary = (folder or path.parent) / f".{path.name}.{secrets.token_hex(8)}.tmp"
    try:
        temporary.touch(exist_ok=False)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise write_failure(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def exclusive_lock(path: Path, say: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Hold a lock file; a process that dies, however it dies, holds it no longer.

    On a file system that has no locks, as some network folders, a second file is made that nobody
    else can make while it is there: ``lock.owner``, with the process in it. One that was left by a
    process of this machine that has died is taken over.

    Args:
        path: the file to lock.
        say: is told of the second way.

    Raises:
        RunConflictError: if another process holds it, or may do so.
        ArchiveError: if the file system refuses.
    """
    descriptor = _lock(path)
    if descriptor is not None:
        try:
            yield
        finally:
            os.close(descriptor)
        return
    owner = path.with_name(OWNER)
    _own(owner, say)
    try:
        yield
    finally:
        owner.unlink(missing_ok=True)


def _lock(path: Path) -> int | None:
    """A locked descriptor; None where there are no locks."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise write_failure(path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The last holder may have deleted the file between our opening and our locking it.
            with suppress(FileNotFoundError):
                if os.fstat(descriptor).st_ino == path.stat().st_ino:
                    return descriptor
        except BlockingIOError as error:
            os.close(descriptor)
            raise RunConflictError(
                f"{path.parent}: another process is writing this output; wait for it, or choose "
                "another output"
            ) from error
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, OSError) and error.errno in NO_LOCKS:
                return None
            raise
        os.close(descriptor)


def _own(owner: Path, say: Callable[[str], None]) -> None:
    """Make the file that only one process can make."""
    mine = {"host": platform.node(), "pid": os.getpid(), "boot": _boot()}
    while True:
        try:
            with owner.open("x", encoding="utf-8") as file:
                json.dump(mine, file)
        except FileExistsError:
            _take_over(owner, mine, say)
            continue
        except OSError as error:
            raise write_failure(owner, error) from error
        say(f"{owner.parent}: its file system has no locks; {owner.name} keeps other runs out")
        return


def _take_over(owner: Path, mine: Mapping[str, object], say: Callable[[str], None]) -> None:
    """Put aside what a dead process of this machine has left.

    Raises:
        RunConflictError: if the process may be alive.
    """
    text = _text(owner)
    if text is None:
        return
    try:
        theirs = json.loads(text)
        where = f"process {int(theirs['pid'])} on {theirs['host']}"
        here = theirs["host"] == mine["host"]
        dead = here and (theirs["boot"] != mine["boot"] or not _is_alive(int(theirs["pid"])))
    except (ValueError, KeyError, TypeError, OverflowError):
        where, dead = "another process", False
    if not dead:
        raise RunConflictError(
            f"{owner.parent}: {where} is writing this output; wait for it, or choose another "
            f"output; if it is known to be dead, delete {owner}"
        )
    # Renamed first, so that of two processes that find it only one takes it away.
    aside = owner.with_name(f".{owner.name}.{secrets.token_hex(8)}.tmp")
    with suppress(FileNotFoundError):
        owner.rename(aside)
        if _text(aside) == text:
            aside.unlink(missing_ok=True)
            say(f"{owner.parent}: the run of {where} was killed; it is taken over")
        else:
            aside.rename(owner)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _boot() -> str:
    """What is another after the machine was started anew; empty where it cannot be known."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
