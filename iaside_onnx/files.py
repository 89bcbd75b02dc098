"""Files that are written whole or not at all, and a lock that ends with its process."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from iaside_onnx.errors import ArchiveError, RunConflictError
from iaside_onnx.hdf5 import NO_LOCKS

__all__ = [
    "OWNER",
    "exclusive_lock",
    "finished_file",
    "scratch_folder",
    "sync_folder",
    "write_failure",
]

OWNER = "lock.owner"
"""Name of the file that replaces the lock on a file system without locks."""

# File systems allow 255 bytes, and a temporary name has 22 more than its output's.
_LONGEST_NAME = 200
_NO_FOLDER_LOCKS = NO_LOCKS | {errno.EBADF}
_RANDOM = re.compile(r"[0-9a-f]{16}\.tmp")


def write_failure(path: Path, error: OSError) -> ArchiveError:
    """The error to raise when a file cannot be written: says why, and what to do."""
    cause = os.strerror(error.errno) if error.errno else str(error)
    return ArchiveError(
        f"{path}: cannot be written: {cause}; what is finished is kept: correct this and run the "
        "same command again"
    )


def sync_folder(folder: Path) -> None:
    """Flush a folder to disk, so that renames in it survive a power failure."""
    # Windows cannot open a folder as a file.
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def finished_file(path: Path, folder: Path | None = None) -> Iterator[Path]:
    """Give a temporary path; on success sync it and rename it to ``path``.

    On any failure, Ctrl-C included, the temporary file is removed and ``path`` is unchanged.

    Args:
        path: the file to make; if it is a symbolic link, its target is written.
        folder: where the temporary file is, on the same file system: a folder that the caller has
            locked, and that it clears. By default a `scratch_folder`.

    Raises:
        ArchiveError: if the file system refuses.
    """
    if folder is None:
        with scratch_folder(path) as scratch, finished_file(path, scratch) as temporary:
            yield temporary
        return
    path = Path(os.path.realpath(path))
    # Named before it is created, so that Ctrl-C at any moment removes it.
    temporary = folder / _temporary_name(path)
    try:
        temporary.touch(exist_ok=False)
        yield temporary
        # Opened for writing, as Windows does not sync a file that is open for reading.
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except ArchiveError:
        # An OSError too, but one that names its file already.
        raise
    except OSError as error:
        raise write_failure(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside an output, which is removed at the end.

    It is locked until then. After SIGKILL the lock is gone, so that the next call for this output
    finds the folder and removes it. A folder is locked and not the files in it, as HDF5 does not
    open a file that somebody has locked.

    Raises:
        ArchiveError: if the file system refuses.
    """
    path = Path(os.path.realpath(path))
    _remove_leftovers(path)
    folder = path.parent / _temporary_name(path)
    descriptor = None
    try:
        while True:
            folder.mkdir()
            descriptor = _lock_folder(folder)
            if descriptor is None or _is_open_at(descriptor, folder):
                break
            # Another run has removed it as a leftover before it was locked.
            os.close(descriptor)
            descriptor = None
    except OSError as error:
        raise write_failure(path, error) from error
    else:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def _temporary_name(path: Path) -> str:
    return f"{_prefix(path)}{secrets.token_hex(8)}.tmp"


def _prefix(path: Path) -> str:
    """What temporary names for an output begin with, short enough for any file system."""
    name = path.name
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    return f".{name}."


def _lock_folder(folder: Path) -> int | None:
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


def _remove_leftovers(path: Path) -> None:
    """Remove temporary folders and files of an output whose writers were killed."""
    prefix = _prefix(path)
    with suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            if entry.name.startswith(prefix) and _RANDOM.fullmatch(entry.name, len(prefix)):
                with suppress(OSError):
                    _remove_if_free(Path(entry))


def _remove_if_free(path: Path) -> None:
    """Remove a temporary folder or file unless its writer, which has locked it, is alive."""
    from filelock import lock_descriptor

    mode = path.lstat().st_mode
    # A symbolic link or a named pipe is none of ours, and Windows does not lock folders.
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) or os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        if lock_descriptor(descriptor, blocking=False):
            if stat.S_ISDIR(mode):
                shutil.rmtree(path)
            else:
                path.unlink()
    finally:
        os.close(descriptor)


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
            if is_free and _is_open_at(descriptor, path):
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


def _is_open_at(descriptor: int, path: Path) -> bool:
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
