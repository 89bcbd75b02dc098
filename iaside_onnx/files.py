"""Files that are written whole or not at all, and what killed writers of them left."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from iaside_onnx.errors import ArchiveError, write_failure
from iaside_onnx.locks import is_open_at, lock_folder

__all__ = ["LONGEST_NAME", "finished_file", "scratch_folder", "stamp_of", "sync_folder"]

LONGEST_NAME = 220
"""Bytes of an output's name at most.

File systems allow 255. Temporary names have 22 more than the file, and specifications that are
written beside a model up to 12 more than that.
"""

_RANDOM = re.compile(r"[0-9a-f]{16}\.tmp")


def stamp_of(path: Path) -> tuple[int, ...] | None:
    """Values that change when a file is replaced or written into; None if there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


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
            descriptor = lock_folder(folder)
            if descriptor is None or is_open_at(descriptor, folder):
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
    if len(os.fsencode(name)) > LONGEST_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    return f".{name}."


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
