"""Locks between processes, which end with the process that holds them, also if it is killed."""

from __future__ import annotations

import errno
import json
import os
import platform
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from iaside_onnx.errors import RunConflictError, write_failure
from iaside_onnx.hdf5 import NO_LOCKS

__all__ = ["OWNER", "exclusive_lock", "is_open_at", "lock_folder"]

OWNER = "lock.owner"
"""Name of the file that replaces the lock on a file system without locks."""

_NO_FOLDER_LOCKS = NO_LOCKS | {errno.EBADF}


@contextmanager
def exclusive_lock(path: Path, say: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Hold a lock file; the lock ends with the process, also if that is killed.

    Some file systems, such as some network folders, have no locks. There the process creates the
    file ``lock.owner`` beside ``path``, which says who the owner is; creation fails while another
    process has it. A file that a dead process of this machine left behind is replaced.

    `filelock.FileLock` would fall back in this way for one error number only (ENOSYS),
    and would not replace the file of a dead process on network folders, where two names cannot be
    exchanged. Two processes could also hold it after the file is deleted or renamed.

    Args:
        path: the file to lock; the holder may delete it.
        say: is called with a message if ``lock.owner`` is used.

    Raises:
        RunConflictError: if another process holds the lock, or may hold it.
        ArchiveError: if the file system refuses.
    """
    descriptor = _lock(path)
    if descriptor is None:
        owner = path.with_name(OWNER)
        _create_owner(owner, say)
        try:
            yield
        finally:
            owner.unlink(missing_ok=True)
        return
    try:
        yield
    finally:
        _unlock(descriptor)


def _lock(path: Path) -> int | None:
    """Lock a file and return its descriptor; None if the file system has no locks."""
    # Not at the top of the module: the import takes 50 ms, and most commands take no lock.
    from filelock import lock_descriptor

    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise write_failure(path, error) from error
        try:
            is_free = lock_descriptor(descriptor, blocking=False)
            if is_free and is_open_at(descriptor, path):
                return descriptor
        except BaseException as error:
            os.close(descriptor)
            if not isinstance(error, OSError):
                raise
            if error.errno in NO_LOCKS:
                return None
            raise write_failure(path, error) from error
        os.close(descriptor)
        if not is_free:
            raise RunConflictError(
                f"{path.parent}: another process is writing this output; wait for it, or choose "
                "another output"
            )


def is_open_at(descriptor: int, path: Path) -> bool:
    """Whether the open file still has this name: its holder may have deleted it meanwhile."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _unlock(descriptor: int) -> None:
    from filelock import unlock_descriptor

    try:
        # Closing is not enough if a forked child has the same open file.
        unlock_descriptor(descriptor)
    finally:
        os.close(descriptor)


def _create_owner(owner: Path, say: Callable[[str], None]) -> None:
    """Create the file that only one process can create."""
    mine = {
        "host": platform.node(),
        "pid": os.getpid(),
        "boot": _boot(),
        "namespace": _pid_namespace(),
    }
    while True:
        try:
            file = owner.open("x", encoding="utf-8")
        except FileExistsError:
            _remove_dead_owner(owner, mine, say)
            continue
        except OSError as error:
            raise write_failure(owner, error) from error
        try:
            with file:
                json.dump(mine, file)
        except BaseException as error:
            # A file without a process in it would keep all later runs out.
            owner.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise write_failure(owner, error) from error
            raise
        say(f"{owner.parent}: its file system has no locks; {owner.name} keeps other runs out")
        return


def _remove_dead_owner(owner: Path, mine: Mapping[str, object], say: Callable[[str], None]) -> None:
    """Remove the file if a dead process of this machine left it behind.

    Raises:
        RunConflictError: if the process may be alive.
    """
    text = _text(owner)
    if text is None:
        return
    try:
        theirs = json.loads(text)
        where = f"process {int(theirs['pid'])} on {theirs['host']}"
        dead = _is_dead(theirs, mine)
    except (ValueError, KeyError, TypeError, OverflowError):
        where, dead = "another process", False
    if not dead:
        raise RunConflictError(
            f"{owner.parent}: {where} is writing this output; wait for it, or choose another "
            f"output; if it is known to be dead, delete {owner}"
        )
    # Renamed first: if two processes find the file, only one of them removes it.
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


def _is_dead(theirs: Mapping[str, object], mine: Mapping[str, object]) -> bool:
    """Whether a process is known to be dead; False if it runs elsewhere or cannot be asked for."""
    if theirs["host"] != mine["host"]:
        return False
    if theirs["boot"] != mine["boot"]:
        return True
    # Containers of one machine may share its name, and each numbers its own processes.
    if theirs.get("namespace") != mine["namespace"]:
        return False
    return not _may_be_alive(int(str(theirs["pid"])))


def _may_be_alive(pid: int) -> bool:
    # On Windows os.kill would end the process, or send it Ctrl-C.
    if os.name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _boot() -> str:
    """An identifier that changes when the machine restarts; empty where there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _pid_namespace() -> str:
    """An identifier of what process numbers refer to; empty where there is one numbering only."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def lock_folder(folder: Path) -> int | None:
    """Lock a folder, and return its descriptor; None where folders have no locks."""
    if os.name == "nt":
        return None
    from filelock import lock_descriptor

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Another run may have the lock for a moment, to remove the folder.
        lock_descriptor(descriptor)
    except BaseException as error:
        os.close(descriptor)
        if not isinstance(error, OSError) or error.errno not in _NO_FOLDER_LOCKS:
            raise
        return None
    return descriptor
