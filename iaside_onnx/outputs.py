"""An output before it is written: whether its name can be used, and nothing foreign is replaced."""

from __future__ import annotations

import errno
import mmap
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from iaside_onnx.errors import IasideError, OptionError
from iaside_onnx.files import LONGEST_NAME

__all__ = ["check_output_file", "check_recorded", "check_target"]


def check_target(path: Path) -> None:
    """Check before the work starts that a file of this name can be written, whole or not at all.

    Raises:
        OptionError: if it names no file, or has no room for what is added to it meanwhile.
    """
    if path.name in ("", ".."):
        raise OptionError(f"{path}: is a folder; give the name of a file to write")
    size = len(os.fsencode(path.name))
    if size > LONGEST_NAME:
        raise OptionError(
            f"{path.name[:20]}...{path.name[-20:]}: the name of a file to write has {size} bytes, "
            f"and up to {LONGEST_NAME} are possible; choose a shorter one"
        )


def check_recorded(path: str | Path) -> None:
    """Check before the work starts that an archive can name this file.

    Raises:
        OptionError: if the path is not UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise OptionError(
            f"{path}: its path is not UTF-8, as the text in archives is; rename it"
        ) from error


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
        OptionError: if the name cannot be that of a file.
    """
    check_target(path)
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
        raise error(f"{named}: already exists; give `overwrite=True` or another name")
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
