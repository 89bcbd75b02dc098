"""Files that are there whole or not at all, and a lock that dies with its process."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from iaside_onnx.errors import ArchiveError, RunConflictError

__all__ = ["exclusive_lock", "finished_file", "sync_folder", "write_failure"]


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
def exclusive_lock(path: Path) -> Iterator[None]:
    """Hold a lock file; a process that dies, however it dies, holds it no longer.

    Raises:
        RunConflictError: if another process holds it.
        ArchiveError: if the file system refuses.
    """
    descriptor = _lock(path)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(path: Path) -> int:
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
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
