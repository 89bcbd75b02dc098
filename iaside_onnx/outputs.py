"""What is at the path of an output before it is written: nothing foreign is replaced."""

from __future__ import annotations

import errno
import mmap
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from iaside_onnx.errors import IasideError, OptionError

__all__ = ["check_output_file"]


def check_output_file(
    path: Path,
    marks: Sequence[bytes],
    *,
    overwrite: bool,
    may_stay: bool = False,
    error: type[IasideError] = OptionError,
) -> None:
    """Look, before the work starts, at what is at the path of an output.

    A file is replaced only if it is one of ours, or empty. A folder, a named pipe or a device
    never is.

    Args:
        path: the file to write; if it is a symbolic link, its target is what counts.
        marks: each file of this kind that iaside wrote contains one of these.
        overwrite: replace such a file, rather than refuse.
        may_stay: what is there may turn out to be the result already, so that nothing is written.
        error: what to raise.

    Raises:
        IasideError: of the class ``error``, if no file may be written there.
    """
    # Read through links: a file is written to where they lead.
    path, named = Path(os.path.realpath(path)), path
    try:
        found = path.stat()
    except FileNotFoundError:
        _check_folder(named, path.parent, error)
        return
    except (OSError, ValueError) as cause:
        raise error(f"{named}: cannot be written: {_reason(cause)}; choose another name") from cause
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
    if not stat.S_ISREG(found.st_mode):
        what = kinds.get(stat.S_IFMT(found.st_mode), "a device")
        raise error(f"{named}: is {what}; give the name of a file to write")
    if not overwrite:
        raise error(f"{named}: already exists; give --overwrite or another name")
    if found.st_size and not _contains(path, marks):
        raise error(
            f"{named}: was not made by iaside, so it is not replaced; move it away, or give "
            "another name"
        )
    if not may_stay:
        _check_folder(named, path.parent, error)


def _check_folder(named: Path, folder: Path, error: type[IasideError]) -> None:
    if not folder.is_dir():
        raise error(f"{named}: its folder does not exist; create it, or write elsewhere")
    if not os.access(folder, os.W_OK):
        read_only = hasattr(os, "statvfs") and os.statvfs(folder).f_flag & os.ST_RDONLY
        why = os.strerror(errno.EROFS if read_only else errno.EACCES)
        raise error(f"{named}: its folder cannot be written to: {why}; choose another")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _contains(path: Path, marks: Sequence[bytes]) -> bool:
    """Whether a file that is not empty contains one of some texts; False if it is unreadable."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return any(data.find(mark) >= 0 for mark in marks)
    except OSError:
        return False
